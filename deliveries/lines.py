"""The log line of a delivery: one for each attempt that was recorded, and never a header, a body or a URL in it."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.conf import settings
from structlog.types import Processor

from config import logs
from deliveries.sending import Sending
from notifier.lifecycle import Result

_logger = logging.getLogger("deliveries")


class DeliveryLines:
    """Writes what ``NOTIFIER_LOG_DELIVERIES`` asks for. A batch is one write, past the logging module: that takes 3 us a
    line, and a record of its own for each 19 us."""

    def __init__(self, *, write: Callable[[str], object] | None = None) -> None:
        self._write = write or (lambda text: sys.stderr.write(text))
        self._renderer: Processor = logs.renderers(logs.is_readable(settings.NOTIFIER_LOG_FORMAT))[-1]
        self._successes = itertools.count()

    def recorded(self, sendings: Iterable[Sending], results: Sequence[Result]) -> None:
        """The batch is committed. Raises nothing: a standard error that is gone is no reason to lose a delivery."""
        wanted = settings.NOTIFIER_LOG_DELIVERIES
        if wanted == "none" or not _logger.isEnabledFor(logging.INFO):
            return
        one_in = settings.NOTIFIER_LOG_DELIVERIES_SAMPLE if wanted == "all" else 0
        now = logs.now()
        text = "".join(
            str(self._renderer(None, "info", _line(sending, result, now))) + "\n"
            for sending, result in zip(sendings, results, strict=True)
            if result.error_code is not None or (one_in and next(self._successes) % one_in == 0)
        )
        if text:
            try:
                self._write(text)
            except (OSError, ValueError):
                return


def _line(sending: Sending, result: Result, now: str) -> dict[str, Any]:
    claim, traceparent = sending.claim, sending.claim.traceparent
    return {
        "event": "delivery",
        "level": "info",
        "logger": "deliveries",
        "timestamp": now,
        "task_id": str(claim.task_id),
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
