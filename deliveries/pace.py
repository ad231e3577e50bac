"""Who is served on time and who is behind, and how those behind stand back beside the others."""

from __future__ import annotations

from collections.abc import Collection

# A partner is behind when something that was claimed of it had been due for so long: a fiftieth of that is usual.
LATE_SECONDS = 0.2
# So long after a claim of one that is not, those behind stand back.
STAND_BACK_SECONDS = 1.0
# Beside partners that are served on time, those behind get short turns, and a pause between them: all share one interpreter
# and one database. What has waited for long can wait for a few milliseconds more.
PACED_ROWS = 10
PACE_SECONDS = 0.03
# Each such turn may be longer than the last, and all are halved when a turn of those on time took twice as long as the
# best ones do (additive increase, multiplicative decrease, RFC 5681). A turn that claims nothing, or much,
# does not count.
GROWTH_ROWS = 1
SHRINKAGE = 0.5
MOST_PACED_ROWS = 400
SUFFERING = 2.0
SMALL_TURN = 10
# What is best is learned again within a thousand turns.
DRIFT = 1.001
# Whatever that makes of it, a backlog that has more than its turns take for so long has the shortest doubled, and again after as
# long: else one that grows as fast as short turns drain it would never be gone, while others are on time.
PATIENCE_SECONDS = 60.0
MOST_DOUBLINGS = 6


class Pace:
    """Not safe for threads: ``Woken`` guards it. Times are the caller's monotonic clock, in seconds.

    A partner of which nothing has been claimed yet counts as behind. After a restart all is learned again.
    """

    def __init__(self) -> None:
        self._on_time: set[str] = set()
        self._on_time_at = float("-inf")
        self._opens_at = float("-inf")
        self._rows = float(PACED_ROWS)
        self._best_seconds = float("inf")
        # Since when those behind have stood back with more than each turn took, and when they had the last.
        self._full_since: float | None = None
        self._behind_at = float("-inf")

    def is_on_time(self, partner_id: str) -> bool:
        """Whether the last claim of this partner was."""
        return partner_id in self._on_time

    def stands_back(self, now: float) -> bool:
        """Whether those behind get short turns, because others are served on time."""
        return self._on_time_at > now - STAND_BACK_SECONDS

    def opens_at(self, now: float) -> float:
        """When those behind may have their next turn."""
        return self._opens_at if self.stands_back(now) else now

    def rows(self, now: float) -> int:
        """How many rows such a short turn may have."""
        if self._full_since is None or now - self._behind_at > STAND_BACK_SECONDS:
            return PACED_ROWS
        least = PACED_ROWS << min(int((now - self._full_since) / PATIENCE_SECONDS), MOST_DOUBLINGS)
        return max(least, int(self._rows))

    def served(self, *, on_time: Collection[str], behind: Collection[str], now: float) -> None:
        """A turn has ended, in which something was claimed of these."""
        self._on_time.difference_update(behind)
        self._on_time.update(on_time)
        if on_time:
            self._on_time_at = now

    def took(self, seconds: float, *, claims: int) -> None:
        """So long a turn of those on time has taken."""
        if not 0 < claims <= SMALL_TURN:
            return
        self._best_seconds = min(seconds, self._best_seconds * DRIFT)
        if seconds > SUFFERING * self._best_seconds:
            self._rows = max(float(PACED_ROWS), self._rows * SHRINKAGE)

    def paused(self, *, more: bool, now: float) -> None:
        """A turn of those behind has ended; ``more``: what it might have was not enough for some."""
        if not more or not self.stands_back(now):
            self._full_since, self._rows = None, float(PACED_ROWS)
        elif self._full_since is None or now - self._behind_at > STAND_BACK_SECONDS:
            self._full_since, self._rows = now, float(PACED_ROWS)
        else:
            self._rows = min(self._rows + GROWTH_ROWS, float(MOST_PACED_ROWS))
        self._behind_at = now
        self._opens_at = now + PACE_SECONDS
