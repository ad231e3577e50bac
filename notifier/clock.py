"""The database's time, which decides what is due: a process with a wrong clock delays nothing and doubles nothing."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connection

RESYNC_SECONDS = 5.0

_lock = threading.Lock()
_read_at = float("-inf")
_read = datetime.min.replace(tzinfo=UTC)


def _ticks() -> float:
    # Goes on while the machine sleeps, unlike the monotonic clock.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read() -> datetime:
    """The database's time, asked now. Costs a round trip; raises what the database raises."""
    if connection.vendor != "mysql":
        return _noted(_own())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql()}")
        (value,) = cursor.fetchone()
    return answered(value)


def sql() -> str:
    """The database's time as a column of a statement that asks for something else too; for ``answered``."""
    return "UTC_TIMESTAMP(6)" if connection.vendor == "mysql" else "NULL"


def answered(value: datetime | None) -> datetime:
    """What the column ``sql`` had."""
    return _noted(_own() if value is None else value.replace(tzinfo=UTC))


def _own() -> datetime:
    # SQLite has no server: its time is this machine's, and its own functions cut it to milliseconds.
    return datetime.now(UTC)  # noqa: TID251 - the one place where the two are the same


def _noted(moment: datetime) -> datetime:
    global _read, _read_at
    with _lock:
        _read, _read_at = moment, _ticks()
    return moment


def now() -> datetime:
    """The database's time: asked at most every 5 s, carried on by this machine's tick counter in between."""
    with _lock:
        elapsed = _ticks() - _read_at
        if elapsed < RESYNC_SECONDS:
            return _read + timedelta(seconds=elapsed)
    return read()
