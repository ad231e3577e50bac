"""How much one API key may hand over: a token bucket for each key, shared by all web processes.

The bucket is a row in the database (``KeyAllowance``). A process draws a tenth of it at once and spends that from memory, so an
accept costs no write of its own; a process that drew nothing remembers that, and refuses from memory too. Nothing here asks the
broker. What processes have drawn and not spent is theirs: in any t seconds at most burst + rate × t + (a tenth of the burst for
each process) are admitted, and a process that ends forfeits what it had drawn.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from notifier import clock
from notifier.models import ApiKey, KeyAllowance
from notifier.transactions import atomically

# The bucket holds what this many seconds earn, and never fewer than MIN_BURST.
BURST_SECONDS = 2.0
MIN_BURST = 20
# Of the bucket, drawn at once.
DRAWN_SHARE = 0.1
# A refusal is remembered for so long at most, so that a raised rate takes effect soon.
LONGEST_MEMORY_SECONDS = 1.0


@dataclass(slots=True)
class _Drawn:
    """What this process holds of a key's bucket. Its lock lets one thread at a time draw."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    tokens: int = 0
    refused_until: float = float("-inf")
    wait_seconds: float = 0.0


class AcceptLimiter:
    """Safe for threads. Holds a few bytes for each valid key that was used."""

    def __init__(self, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._lock = threading.Lock()
        self._drawn: dict[int, _Drawn] = {}

    def admit(self, key: ApiKey) -> float:
        """Take one token: 0 where there was one, else the seconds until there is. Raises what the database raises."""
        drawn = self._of(key)
        with drawn.lock:
            if drawn.tokens < 1:
                now = self._ticks()
                if now < drawn.refused_until:
                    return drawn.refused_until - now + drawn.wait_seconds
                drawn.tokens, wait = _draw(key, now=clock.now())
                if drawn.tokens < 1:
                    remembered = min(wait, LONGEST_MEMORY_SECONDS)
                    drawn.refused_until, drawn.wait_seconds = now + remembered, wait - remembered
                    return wait
            drawn.tokens -= 1
        return 0.0

    def charge(self, key: ApiKey, count: int) -> None:
        """Take further tokens for a request that was admitted, there or not: a batch is let in whole, and what it took beyond
        the bucket is waited for by those after it.
        """
        drawn = self._of(key)
        with drawn.lock:
            if count > drawn.tokens:
                _owe(key, count - drawn.tokens, now=clock.now())
            drawn.tokens = max(0, drawn.tokens - count)

    def _of(self, key: ApiKey) -> _Drawn:
        with self._lock:
            return self._drawn.setdefault(key.lineage, _Drawn())


limiter = AcceptLimiter()


def _rate(key: ApiKey) -> float:
    return float(settings.NOTIFIER_ACCEPT_RATE_PER_SECOND if key.rate_per_second is None else key.rate_per_second)


def _burst(rate: float) -> float:
    return max(rate * BURST_SECONDS, MIN_BURST)


def _draw(key: ApiKey, *, now: datetime) -> tuple[int, float]:
    """Tokens for this process, at most its share; or none, and the seconds until there is one."""
    rate = _rate(key)

    def draw() -> tuple[int, float]:
        row = _refilled(key, rate, now)
        if row.tokens < 1:
            return 0, (1 - row.tokens) / rate
        taken = min(math.floor(row.tokens), math.ceil(_burst(rate) * DRAWN_SHARE))
        row.tokens -= taken
        row.save(update_fields=["tokens", "tokens_at"])
        return taken, 0.0

    return atomically(draw)


def _owe(key: ApiKey, count: int, *, now: datetime) -> None:
    def owe() -> None:
        row = _refilled(key, _rate(key), now)
        row.tokens -= count
        row.save(update_fields=["tokens", "tokens_at"])

    atomically(owe)


def _refilled(key: ApiKey, rate: float, now: datetime) -> KeyAllowance:
    """The key's row, locked, with what it has earned since; a new one is full."""
    defaults = {"tokens": _burst(rate), "tokens_at": now}
    row, made = KeyAllowance.objects.select_for_update().get_or_create(key_id=key.lineage, defaults=defaults)
    if not made and now > row.tokens_at:
        earned = (now - row.tokens_at).total_seconds() * rate
        row.tokens, row.tokens_at = min(_burst(rate), row.tokens + earned), now
    return row
