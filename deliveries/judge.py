"""What came back → what is written: outcome, decision, and the redacted record of the attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

from django.conf import settings

from deliveries.sending import Sending, secrets_of
from notifier.lifecycle import Result
from notifier.models import AttemptStatus
from notifier.policy import poison, redaction, retry
from notifier.policy.classify import Judgement, Outcome, classify
from notifier.policy.exchange import Exchange, FailureKind

HEADER_BYTES = 4096


def judge(
    sending: Sending, exchange: Exchange, *, now: datetime, random: Callable[[], float] = random.random
) -> Result:
    """The result of one exchange by the partner's policy. Pure but for the settings; raises on bad policy data."""
    claim, partner = sending.claim, sending.partner
    judgement = classify(
        exchange,
        success_condition=claim.success_condition or partner.success_condition,
        permanent_statuses=partner.permanent_statuses,
    )
    decision = retry.decide(
        judgement,
        policy=partner.retry_policy,
        attempts_used=claim.attempts_used,
        max_attempts=claim.max_attempts,
        retry_after=retry.parse_retry_after(exchange.header("Retry-After"), now=now),
        now=now,
        random=random,
    )
    return _result(sending, exchange, judgement, decision)


def poisoned(sending: Sending, error: BaseException, *, tries: int, now: datetime) -> Result:
    """The result for a row whose handling raised for the ``tries``-th time. Holds the error's kind only."""
    exchange = Exchange(failure=FailureKind.INTERNAL, maybe_sent=False)
    judgement = Judgement(Outcome.TEMPORARY, FailureKind.INTERNAL.value, poison.message(error))
    claim = sending.claim
    decision = poison.decide(tries=tries, attempts_used=claim.attempts_used, max_attempts=claim.max_attempts, now=now)
    return _result(sending, exchange, judgement, decision)


def _result(sending: Sending, exchange: Exchange, judgement: Judgement, decision: retry.Decision) -> Result:
    hidden = secrets_of(sending) if exchange.headers or exchange.body or exchange.failure_detail else []
    kept = exchange.body[: settings.NOTIFIER_RESPONSE_KEEP_BYTES].decode("utf-8", "replace")
    message = judgement.error_message
    return Result(
        task_key=sending.claim.id,
        attempt_no=sending.claim.attempt_count,
        lease_token=sending.claim.lease_token,
        decision=decision,
        attempt_status=AttemptStatus.SUCCEEDED if judgement.outcome is Outcome.SUCCEEDED else AttemptStatus.FAILED,
        http_status_code=exchange.status,
        error_code=judgement.error_code,
        error_message=None if message is None else redaction.scrub(message, hidden),
        timing=exchange.timing,
        remote_ip=exchange.remote_ip,
        response_headers=redaction.response_headers(exchange.headers, secrets=hidden, max_bytes=HEADER_BYTES),
        response_body=redaction.scrub(kept, hidden),
    )
