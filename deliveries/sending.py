"""A claimed task on its way: from the row to the request, checked against its partner's rules as they are now."""

from __future__ import annotations

import math
import re
import secrets
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings

from deliveries.transport.engine import Engine
from deliveries.transport.request import Limits, Outgoing, prepare, sensitive_values
from notifier import gate, sealing
from notifier.lifecycle import Claim
from notifier.models import Partner
from notifier.policy import destination
from notifier.policy.exchange import Exchange, FailureKind
from notifier.tracing import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, eq=False)
class Sending:
    """A claim, and its partner as it was when the claim was sent."""

    claim: Claim
    partner: Partner
    # Whether it is the probe of the partner's open circuit.
    probe: bool = False
    # On the monotonic clock: what begins later could outlive its lease.
    begin_before: float = math.inf
    # Of its request, where traces are on.
    span: Span | None = None


def send(sending: Sending, engine: Engine, *, now: datetime) -> Future[Exchange]:
    """Hand the request to the engine. The future holds the Exchange, or what kept the request from being built."""
    future: Future[Exchange] = Future()
    try:
        refusal = refused(sending)
        if refusal is None:
            return engine.submit(outgoing(sending, now=now), sender=sending.partner.partner_id)
        future.set_result(Exchange(failure=FailureKind.ADDRESS_BLOCKED, failure_detail=refusal, maybe_sent=False))
    except Exception as error:  # noqa: BLE001 - one row's request cannot be built: its own failure, not the batch's
        future.set_exception(error)
    return future


def refused(sending: Sending) -> str | None:
    """Why the rules, as they are now, do not let the request go; None where they do."""
    refusal = gate.refusal(destination.target(sending.claim.target_url), sending.partner)
    return None if refusal is None else refusal.message


def outgoing(sending: Sending, *, now: datetime) -> Outgoing:
    """The request as it goes out. Raises where the row holds what cannot be sent."""
    claim, partner = sending.claim, sending.partner
    headers, _ = sealing.open_headers(claim.headers)
    request = prepare(
        method=claim.http_method,
        url=claim.target_url,
        headers=headers,
        default_headers=partner.headers,
        body=claim.body,
        content_type=claim.content_type,
        webhook_id=str(claim.task_id),
        attempt_no=claim.attempt_count,
        traceparent=_continued(claim.traceparent) if sending.span is None else tracing.traceparent(sending.span),
        now=now,
    )
    limits = Limits(
        connect_timeout=min(partner.connect_timeout_seconds, settings.NOTIFIER_MAX_TIMEOUT_SECONDS),
        total_timeout=min(partner.timeout_seconds, settings.NOTIFIER_MAX_TIMEOUT_SECONDS),
        begin_before=sending.begin_before,
        allow_private_cidrs=tuple(partner.allow_private_cidrs),
    )
    return Outgoing(request, limits)


def secrets_of(sending: Sending) -> list[str]:
    """What of this request must not be shown, should the partner echo it."""
    try:
        headers, _ = sealing.open_headers(sending.claim.headers)
    except sealing.SealBroken:
        return []
    return sensitive_values({**sending.partner.headers, **headers}, tuple(settings.NOTIFIER_SENSITIVE_HEADERS))


def _continued(traceparent: str | None) -> str | None:
    """The caller's trace with a span of ours as the parent (W3C Trace Context, section 3.2)."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return None if match is None else f"00-{match[1]}-{secrets.token_hex(8)}-{match[2]}"
