"""Log lines that come by the thousand: past the logging module, which makes a record of each and takes six times as long."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from structlog.types import Processor

from config import logs


class Lines:
    """Lines of one logger, at its level INFO, looking as all others do. What is in them is the caller's to choose. Safe for
    threads.
    """

    def __init__(self, logger: str, event: str, *, write: Callable[[str], object] | None = None) -> None:
        self._logger = logging.getLogger(logger)
        self._head = {"event": event, "level": "info", "logger": logger}
        self._write = write or (lambda text: sys.stderr.write(text))
        self._renderer: Processor = logs.renderers(logs.is_readable(settings.NOTIFIER_LOG_FORMAT))[-1]

    @property
    def wanted(self) -> bool:
        return self._logger.isEnabledFor(logging.INFO)

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """All of them in one write. Raises nothing: a standard error that is gone is no reason to lose what was done."""
        stamp = {"timestamp": logs.now()}
        text = "".join(f"{self._renderer(None, 'info', self._head | stamp | line)!s}\n" for line in lines)
        if text:
            try:
                self._write(text)
            except (OSError, ValueError):
                return
