"""A monotonic clock that stands still until a test moves it."""

from __future__ import annotations


class Ticks:
    """Call it for the time, in seconds; add to ``now`` to let time pass."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
