"""What claimer and recorder have in common: a thread that works in rounds and outlives the database's absence."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

# While the database is away, a round is tried this often.
AWAY_SECONDS = 0.5


class Station:
    """Calls ``work`` again and again until it returns False.

    While the database is away ``work`` raises and is called again after a pause; it must be able to take up where it was.
    Any other error ends the process: half a dispatcher would lose time unseen, and leases and sweep recover its work.
    """

    def __init__(self, name: str, work: Callable[[], bool]) -> None:
        self._work = work
        self._pause = threading.Event()
        self._away = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def hurry(self) -> None:
        """End pauses: the process is about to stop."""
        self._pause.set()

    def join(self, timeout: float) -> None:
        self.thread.join(max(0.0, timeout))

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except BaseException:
            logger.critical("the %s died of an unexpected error; the process ends", self.thread.name, exc_info=True)
            os._exit(70)
        finally:
            connection.close()

    def _round(self) -> bool:
        try:
            goes_on = self._work()
        except (OperationalError, InterfaceError) as error:
            if not self._away:
                logger.error("the %s waits for the database: %s", self.thread.name, type(error).__name__)
            self._away = True
            connection.close()
            self._pause.wait(AWAY_SECONDS)
            return True
        if self._away:
            logger.info("the %s has its database back", self.thread.name)
        self._away = False
        return goes_on
