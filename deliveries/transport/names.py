"""Host names → addresses: one lookup of a name at a time, so that a name whose servers are silent holds one thread.

libcurl's own resolver starts two lookups for each transfer on twenty threads and cannot end one that hangs: ten requests
to one such partner kept every other name from being looked up (measured: for as long as getaddrinfo hung).
"""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

# An answer is used for this long; kept connections are as long-lived.
ANSWER_SECONDS = 60
# Lookups at the same time; each takes a thread for as long as the system's resolver takes.
MAX_LOOKUPS = 256

Addresses = tuple[str, ...]
LookUp = Callable[[str], Addresses]
T = TypeVar("T")


def look_up(host: str) -> Addresses:
    """What the system's resolver says: files, DNS, or whatever the machine is set up for."""
    return tuple(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


class Names(Generic[T]):
    """Who waits for which name. Lives in the engine's thread; ``wake`` is called from others when there is an answer."""

    def __init__(self, look_up: LookUp, wake: Callable[[], None]) -> None:
        self._look_up, self._wake = look_up, wake
        self._known: dict[str, tuple[float, Addresses]] = {}  # in the order of their expiry
        self._waiting: dict[str, dict[int, T]] = {}
        self._deadlines: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._under_way: set[str] = set()
        self._queue: deque[str] = deque()
        self._answers: deque[tuple[str, Addresses]] = deque()

    def addresses(self, host: str) -> Addresses | None:
        """What the name was found to stand for a short while ago; None where it must be looked up."""
        until, addresses = self._known.get(host, (0.0, None))
        return addresses if until > time.monotonic() else None

    def wait(self, host: str, waiting: T, deadline: float) -> None:
        """``answered`` will give it back, or ``late`` once the deadline has passed."""
        number = next(self._numbers)
        self._waiting.setdefault(host, {})[number] = waiting
        heapq.heappush(self._deadlines, (deadline, number, host))
        if host not in self._under_way:
            self._under_way.add(host)
            self._queue.append(host)
            self._start()

    def answered(self) -> list[tuple[T, Addresses]]:
        """Those whose name has been looked up. No addresses: there are none, or nobody could tell."""
        done: list[tuple[T, Addresses]] = []
        while self._answers:
            host, addresses = self._answers.popleft()
            self._under_way.discard(host)
            if addresses:
                self._remember(host, addresses)
            done += [(waiting, addresses) for waiting in self._waiting.pop(host, {}).values()]
            self._start()
        return done

    def late(self) -> list[T]:
        """Those whose deadline has passed. Their lookup goes on, and its answer serves whoever asks next."""
        done: list[T] = []
        while self._deadlines and self._deadlines[0][0] <= time.monotonic():
            _, number, host = heapq.heappop(self._deadlines)
            if number in self._waiting.get(host, {}):
                done.append(self._waiting[host].pop(number))
        return done

    def next_deadline(self) -> float | None:
        return self._deadlines[0][0] if self._deadlines else None

    def _remember(self, host: str, addresses: Addresses) -> None:
        now = time.monotonic()
        self._known.pop(host, None)
        self._known[host] = (now + ANSWER_SECONDS, addresses)
        while (oldest := next(iter(self._known))) and self._known[oldest][0] <= now:
            del self._known[oldest]

    def _start(self) -> None:
        while self._queue and len(self._under_way) - len(self._queue) < MAX_LOOKUPS:
            host = self._queue.popleft()
            # A daemon: a lookup that hangs must not keep the process from ending.
            threading.Thread(target=self._ask, args=[host], name="lookup", daemon=True).start()

    def _ask(self, host: str) -> None:
        try:
            addresses = self._look_up(host)
        except (OSError, UnicodeError):
            addresses = ()
        self._answers.append((host, addresses))
        self._wake()
