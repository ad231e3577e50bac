"""What came back → what is written: outcome, decision, and the redacted record of the attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from deliveries.lessons import Taught
from deliveries.sending import Sending, secrets_of
from notifier.lifecycle import Result
from notifier.models import AttemptStatus
from notifier.policy import circuit, poison, redaction, retry
from notifier.policy.classify import Judgement, Outcome, classify
from notifier.policy.exchange import Exchange, FailureKind

HEADER_BYTES = 4096
# So many probes in a row are the same task's, which may be one that fails a few times and then succeeds. Then it is another's
# turn, for the partner may be well and this task what it cannot take.
PROBES_EACH = 3
_ANSWERED = Taught(evidence=circuit.Evidence.ANSWERED)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is written about the task, and what the attempt says about the partner."""

    result: Result
    taught: Taught


def judge(
    sending: Sending, exchange: Exchange, *, now: datetime, random: Callable[[], float] = random.random
) -> Judged:
    """The result of one exchange by the partner's policy. Pure but for the settings; raises on bad policy data."""
    claim, partner = sending.claim, sending.partner
    judgement = classify(
        exchange,
        success_condition=claim.success_condition or partner.success_condition,
        permanent_statuses=partner.permanent_statuses,
    )
    if judgement.outcome is Outcome.SUCCEEDED and exchange.status not in retry.HOLDING_STATUSES:
        # As most are: how long to wait is not asked, nor by which policy.
        return Judged(_result(sending, exchange, judgement, retry.Succeeded(), excused=False), _ANSWERED)
    cap = timedelta(seconds=settings.NOTIFIER_MAX_HOLD_SECONDS)
    retry_after = retry.parse_retry_after(exchange.header("Retry-After"), now=now, cap=cap)
    held = exchange.status in retry.HOLDING_STATUSES and retry_after is not None
    # A probe asks for everybody, and what was not sent because of us is no attempt of the task's: neither pays for it.
    excused = judgement.outcome is Outcome.TEMPORARY and (sending.probe or exchange.failure is FailureKind.HELD_UP)
    decision: retry.Decision = retry.decide(
        judgement,
        policy=partner.retry_policy,
        attempts_used=claim.attempts_used,
        max_attempts=claim.max_attempts if not excused else claim.attempts_used + 1,
        retry_after=retry_after,
        now=now,
        random=random,
    )
    if exchange.failure is FailureKind.HELD_UP:
        decision = retry.RetryAt(now)
    elif excused and not held and claim.attempts_excused < PROBES_EACH:
        # Back to the head of the line, as if it had not been tried: it is the next probe, too.
        decision = retry.RetryAt(claim.created_at)
    taught = Taught(
        evidence=circuit.evidence(judgement, asked_for_time=held),
        error_code=judgement.error_code,
        hold_until=now + retry_after if held and retry_after is not None else None,
    )
    return Judged(_result(sending, exchange, judgement, decision, excused=excused), taught)


def poisoned(sending: Sending, error: BaseException, *, tries: int, now: datetime) -> Judged:
    """The result for a row whose handling raised for the ``tries``-th time. Holds the error's kind only."""
    exchange = Exchange(failure=FailureKind.INTERNAL, maybe_sent=False)
    judgement = Judgement(Outcome.TEMPORARY, FailureKind.INTERNAL.value, poison.message(error))
    claim = sending.claim
    decision = poison.decide(tries=tries, attempts_used=claim.attempts_used, max_attempts=claim.max_attempts, now=now)
    result = _result(sending, exchange, judgement, decision, excused=False)
    return Judged(result, Taught(evidence=circuit.Evidence.NONE, error_code=judgement.error_code))


def _result(
    sending: Sending, exchange: Exchange, judgement: Judgement, decision: retry.Decision, *, excused: bool
) -> Result:
    hidden = secrets_of(sending) if exchange.headers or exchange.body or exchange.failure_detail else []
    headers, body = _kept(sending, exchange, hidden)
    message = judgement.error_message
    return Result(
        task_key=sending.claim.id,
        attempt_no=sending.claim.attempt_count,
        lease_token=sending.claim.lease_token,
        decision=decision,
        excused=excused,
        attempt_status=AttemptStatus.SUCCEEDED if judgement.outcome is Outcome.SUCCEEDED else AttemptStatus.FAILED,
        http_status_code=exchange.status,
        error_code=judgement.error_code,
        error_message=None if message is None else redaction.scrub(message, hidden),
        timing=exchange.timing,
        remote_ip=exchange.remote_ip,
        response_headers=headers,
        response_body=body,
    )


def _kept(sending: Sending, exchange: Exchange, hidden: list[str]) -> tuple[list[list[str]], str]:
    """Of the answer's headers and body what may be kept: nothing that could repeat a sealed body, in whatever words."""
    if sending.claim.body_sealed:
        return redaction.response_headers_of_sealed(exchange.headers, max_bytes=HEADER_BYTES), ""
    body = redaction.kept_text(
        exchange.body, hidden, max_bytes=settings.NOTIFIER_RESPONSE_KEEP_BYTES, truncated=exchange.body_truncated
    )
    return redaction.response_headers(exchange.headers, secrets=hidden, max_bytes=HEADER_BYTES), body
