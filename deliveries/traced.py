"""The spans of a delivery: claim and send, in the trace of what was accepted. Called only where traces are on."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

from deliveries.sending import Sending
from deliveries.transport.transfer import Settled
from notifier.tracing import tracing


def traced(sending: Sending, *, now: datetime) -> Sending:
    """With the span of its request, which the partner sees. ``now``: the database's time of the claim."""
    claim = sending.claim
    names = {"task_id": claim.task_id, "partner_id": sending.partner.partner_id}
    # The database's clock may be ahead of ours; a span cannot end before it began.
    since_ns = min(int(now.timestamp() * 1e9), time.time_ns())
    claimed = tracing.claimed(claim.traceparent, since_ns=since_ns, attempt_no=claim.attempt_count, **names)
    span = tracing.sending(claimed, attempt_no=claim.attempt_count, method=claim.http_method, **names)
    return replace(sending, span=span)


def finished(sending: Sending, settled: Settled) -> None:
    """The request has ended, however."""
    if sending.span is None:
        return
    if isinstance(settled, Exception):
        tracing.sent(sending.span, status=None, failure=type(settled).__name__)
    else:
        tracing.sent(sending.span, status=settled.status, failure=settled.failure and settled.failure.value)
