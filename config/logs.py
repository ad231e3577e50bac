"""How log lines look: one JSON object each for machines, or readable ones for a person in front of a terminal."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.types import Processor

JSON, TEXT, AUTO = "json", "text", "auto"
# What our own lines say besides their sentence. Nothing else of a record gets into a line: Django hangs whole requests on its own.
FIELDS = (
    "task_id", "partner_id", "attempt_no", "status", "http_status_code", "error_code", "latency_ms", "request_id", "trace_id",
    "method", "path", "duration_ms",
)  # fmt: skip

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


def _json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except TypeError:  # what it does not take, such as half of a surrogate pair
        return json.dumps(event, default=repr)


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """For Django's LOGGING. ``auto`` is readable where standard error is a terminal, and JSON elsewhere."""
    _spare()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _gathered(),
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *renderers(is_readable(log_format)),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "notifier": {"level": level},
            "deliveries": {"level": level},
            # A 4xx is the caller's business and is answered; it is no line in our log.
            "django.request": {"level": "ERROR"},
            # It would name who failed to log in, for every try.
            "axes": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
        },
    }


def _spare() -> None:
    """Have the library not look up what no line of ours says (logging HOWTO, "Optimization")."""
    logging._srcfile = None  # noqa: SLF001 - the HOWTO's own way
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _gathered() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=FIELDS),
        _stamp,
    ]


def is_readable(log_format: str) -> bool:
    return log_format == TEXT or (log_format == AUTO and sys.stderr.isatty())


def now() -> str:
    """As the lines have it."""
    return str(_stamp(None, "", {})["timestamp"])


def renderers(readable: bool) -> list[Processor]:
    """From what is known to the text of a line; the last makes the text."""
    if readable:
        # Not structlog's own way with exceptions: it may print local variables, and those hold secrets.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
