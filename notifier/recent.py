"""What was read lately, for those who ask often."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, each for ``max_age_seconds`` after it was read. Safe for threads: each step is one of a dict's own."""

    def __init__(self, max_age_seconds: float, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self._max_age = max_age_seconds
        self._ticks = ticks
        self._entries: dict[K, tuple[float, V]] = {}
        self._asked_for: set[K] = set()

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] < self._ticks() - self._max_age:
            return None
        self._asked_for.add(key)
        return entry[1]

    def aging(self, most: int) -> set[K]:
        """What was found since the last call and has lived for more than half of its time, ``most`` of it: to be read again
        together with something else, rather than each by itself a little later.
        """
        asked_for, self._asked_for = self._asked_for, set()
        old = self._ticks() - self._max_age / 2
        # As a list at once: another thread may still add to it.
        aging = (key for key in list(asked_for) if (entry := self._entries.get(key)) is not None and entry[0] < old)
        return set(itertools.islice(aging, most))

    def begin(self) -> float:
        """When a read begins: what changes during it must not look newer than it is."""
        return self._ticks()

    def put(self, key: K, value: V, *, read_at: float) -> None:
        """``read_at`` is what ``begin`` gave before the value was asked for."""
        self._entries[key] = (read_at, value)

    def forget(self, key: K) -> None:
        """The value has changed: ask again."""
        self._entries.pop(key, None)
