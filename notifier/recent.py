"""What was read lately, for those who ask often."""

from __future__ import annotations

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

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        return None if entry is None or entry[0] < self._ticks() - self._max_age else entry[1]

    def begin(self) -> float:
        """When a read begins: what changes during it must not look newer than it is."""
        return self._ticks()

    def put(self, key: K, value: V, *, read_at: float) -> None:
        """``read_at`` is what ``begin`` gave before the value was asked for."""
        self._entries[key] = (read_at, value)

    def forget(self, key: K) -> None:
        """The value has changed: ask again."""
        self._entries.pop(key, None)
