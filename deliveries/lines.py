"""The log line of a delivery: one for each attempt that was recorded, and never a header, a body or a URL in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.conf import settings

from config.lines import Lines
from deliveries.sending import Sending
from notifier.lifecycle import Result


class DeliveryLines:
    """Writes what ``NOTIFIER_LOG_DELIVERIES`` asks for. A batch is one write."""

    def __init__(self, *, write: Callable[[str], object] | None = None) -> None:
        self._lines = Lines("deliveries", "delivery", write=write)
        self._successes = itertools.count()

    def recorded(self, sendings: Iterable[Sending], results: Sequence[Result]) -> None:
        """The batch is committed. Raises nothing."""
        wanted = settings.NOTIFIER_LOG_DELIVERIES
        if wanted == "none" or not self._lines.wanted:
            return
        one_in = settings.NOTIFIER_LOG_DELIVERIES_SAMPLE if wanted == "all" else 0
        self._lines.write(
            _line(sending, result)
            for sending, result in zip(sendings, results, strict=True)
            if result.error_code is not None or (one_in and next(self._successes) % one_in == 0)
        )


def _line(sending: Sending, result: Result) -> dict[str, Any]:
    claim, traceparent = sending.claim, sending.claim.traceparent
    return {
        "task_id": claim.task_id,
        "partner_id": sending.partner.partner_id,
        "attempt_no": result.attempt_no,
        "status": result.attempt_status.value,
        "http_status_code": result.http_status_code,
        "error_code": result.error_code,
        "latency_ms": None if result.timing is None else round(result.timing.total_ms, 1),
        "request_id": claim.request_id,
        # W3C Trace Context, section 3.2.2: version, trace-id, parent-id, flags
        "trace_id": None if traceparent is None else traceparent[3:35],
    }
