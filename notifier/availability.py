"""Whether the database answers: a request need not wait for one that another request has just waited for in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connection

from notifier import clock

# While the database is away, it is asked this often.
PROBE_SECONDS = 1.0


def is_connection_lost(error: Exception) -> bool:
    """Whether the client library says so, after a refusal or a time-out; not the server, which then answers."""
    code = error.args[0] if error.args else None
    return isinstance(error, InterfaceError) or (
        isinstance(error, OperationalError) and isinstance(code, int) and 2000 <= code < 3000
    )


class Availability:
    """Safe for threads; one to a process."""

    def __init__(self, ask: Callable[[], object] = clock.read, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._ask = ask
        self._probe_seconds = probe_seconds
        self._lock = threading.Lock()
        self._away = False
        self._asking = False

    def lost(self) -> None:
        """This thread's connection was lost. It is closed, so that the end of the request does not wait for it again."""
        connection.close()
        with self._lock:
            self._away = True

    def away(self) -> bool:
        """Whether to go on without the database.

        The first caller after a loss asks it, as it may only have been restarted. Where it does not answer, a thread goes
        on asking until it does, and nobody else waits.
        """
        with self._lock:
            if not self._away:
                return False
            if self._asking:
                return True
            self._asking = True
        if self._answers():
            self._is_back()
            return False
        threading.Thread(target=self._wait, name="database-probe", daemon=True).start()
        return True

    def _wait(self) -> None:
        pause = threading.Event()
        while not self._answers():
            pause.wait(self._probe_seconds)
        connection.close()
        self._is_back()

    def _answers(self) -> bool:
        try:
            self._ask()
        except Exception:  # noqa: BLE001 - whatever it raises, it has not answered; and nobody else would ask again
            connection.close()
            return False
        return True

    def _is_back(self) -> None:
        with self._lock:
            self._away = self._asking = False


database = Availability()
