"""What waits to be begun: each sender's requests in their order, the senders in turns, none with all of its own at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

# Slow start (RFC 5681, section 3.1): of a sender one is on its way at first, and twice as many each time some have waited for so
# long. What comes back meanwhile leaves its connection to the next, so that ten requests for a partner that answers at once take
# a connection instead of ten; a partner that takes its time has 64 after a third of a second.
FIRST_AT_ONCE = 1
DOUBLED_AFTER_SECONDS = 0.05
# Then it is forgotten how many a sender had: its connections are closed by now (CONNECTION_MAX_IDLE_SECONDS).
FORGOTTEN_AFTER_SECONDS = 1.0


@dataclass(slots=True)
class _Sender(Generic[T]):
    line: deque[T] = field(default_factory=deque)
    running: int = 0
    at_once: int = FIRST_AT_ONCE
    # Since some wait for others of it to come back: when at_once is doubled.
    double_at: float | None = None


class FairQueue(Generic[T]):
    """Who puts in one does not wait for the hundreds of others. Safe for threads.

    Round robin (Nagle, RFC 970, section 5), in which a sender that had nothing here begins before those that had
    (RFC 8290, section 4.2: new and old queues). Each ``get`` must be followed by an ``ended``.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._senders: dict[str, _Sender[T]] = {}
        # In the order of their turns. An old one's line may be empty: whoever comes again at once is not new again.
        self._new: dict[str, None] = {}
        self._old: dict[str, None] = {}
        # Those with as many on their way as they may have, and when that is doubled; nearly by that time.
        self._full: dict[str, float] = {}
        # Those with nothing here nor on its way, since when; by that time.
        self._idle: dict[str, float] = {}

    def put(self, sender: str, item: T) -> None:
        with self._lock:
            known = self._senders.get(sender)
            if known is None:
                known = self._senders[sender] = _Sender()
            elif self._now() - self._idle.pop(sender, float("inf")) > FORGOTTEN_AFTER_SECONDS:
                known.at_once = FIRST_AT_ONCE
            known.line.append(item)
            if sender not in self._old and sender not in self._full:
                self._new[sender] = None

    def get(self) -> tuple[str, T] | None:
        """The next one and whose it is; None where there is none that may begin."""
        with self._lock:
            now = self._now()
            self._ready(now)
            while turns := self._new or self._old:
                name = next(iter(turns))
                del turns[name]
                sender = self._senders[name]
                if not sender.line:
                    self._rest(name, sender, now)
                elif self._is_full(sender, now):
                    self._full[name] = sender.double_at or now
                else:
                    sender.running += 1
                    item = sender.line.popleft()
                    if not sender.line:
                        sender.double_at = None
                    self._old[name] = None  # behind the others
                    return name, item
            return None

    def ended(self, name: str) -> None:
        """One of the sender's is no longer on its way."""
        with self._lock:
            sender = self._senders[name]
            sender.running -= 1
            if self._full.pop(name, None) is not None:
                self._old[name] = None
            elif name not in self._old and name not in self._new:
                self._rest(name, sender, self._now())

    def next_change(self) -> float | None:
        """When, by the clock, ``get`` may have one without anything having ended; None: not before something is put in.

        For the thread that calls ``get`` and ``ended``.
        """
        if self._new or self._old:
            return 0.0
        return next(iter(self._full.values()), None)

    def _ready(self, now: float) -> None:
        """Those for whose doubling it is time get their turn again."""
        for name in [name for name, at in itertools.takewhile(lambda each: each[1] <= now, self._full.items())]:
            del self._full[name]
            self._old[name] = None

    def _is_full(self, sender: _Sender[T], now: float) -> bool:
        if sender.running < sender.at_once:
            return False
        if sender.double_at is None:
            sender.double_at = now + DOUBLED_AFTER_SECONDS
        elif sender.double_at <= now:
            sender.double_at = now + DOUBLED_AFTER_SECONDS
            sender.at_once *= 2
            return False
        return True

    def _rest(self, name: str, sender: _Sender[T], now: float) -> None:
        if sender.running or sender.line:
            return
        self._idle[name] = now
        while self._idle:
            longest, since = next(iter(self._idle.items()))
            if now - since <= FORGOTTEN_AFTER_SECONDS:
                break
            del self._idle[longest], self._senders[longest]
