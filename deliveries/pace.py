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
PACE_SECONDS = 0.06
# But those on time are not owed more than they take: where their own turns are longer, those behind may have as many rows.
# Theirs count less with each turn that follows.
FADING = 0.9
# Whatever that makes of it, a backlog that has more than its turns take for so long has the shortest doubled, and again after as
# long: else one that grows as fast as short turns drain it would never be gone, while others are on time.
PATIENCE_SECONDS = 120.0
MOST_DOUBLINGS = 6


class Pace:
    """Not safe for threads: ``Woken`` guards it. Times are the caller's monotonic clock, in seconds.

    A partner of which nothing has been claimed yet counts as behind. After a restart all is learned again.
    """

    def __init__(self) -> None:
        self._on_time: set[str] = set()
        self._on_time_at = float("-inf")
        self._opens_at = float("-inf")
        # How long turns of those on time have been lately.
        self._beside = 0.0
        # Since when those behind have stood back with more than each turn took, and when they had the last.
        self._full_since: float | None = None
        self._behind_at = float("-inf")

    def is_on_time(self, partner_id: str) -> bool:
        """Whether the last claim of this partner was, or it has caught up."""
        return partner_id in self._on_time

    def stands_back(self, now: float) -> bool:
        """Whether those behind get short turns, because others are served on time."""
        return self._on_time_at > now - STAND_BACK_SECONDS

    def opens_at(self, now: float) -> float:
        """When those behind may have their next turn."""
        return self._opens_at if self.stands_back(now) else now

    def rows(self, now: float) -> int:
        """How many rows such a short turn may have."""
        rows = max(PACED_ROWS, int(self._beside))
        if self._full_since is None or now - self._behind_at > STAND_BACK_SECONDS:
            return rows
        return max(rows, PACED_ROWS << min(int((now - self._full_since) / PATIENCE_SECONDS), MOST_DOUBLINGS))

    def served(
        self, *, on_time: Collection[str], behind: Collection[str], caught_up: Collection[str] = (), now: float
    ) -> None:
        """A turn has ended, in which something was claimed of these. Who has ``caught_up`` is no longer behind, but nobody
        stands back for it: partners that are late together would hold one another back, each time one has caught up.
        """
        self._on_time.difference_update(behind)
        self._on_time.update(on_time, caught_up)
        if on_time:
            self._on_time_at = now

    def claimed(self, rows: int) -> None:
        """So many rows a turn of those on time has claimed."""
        if rows:
            self._beside = max(float(rows), self._beside * FADING)

    def paused(self, *, more: bool, now: float) -> None:
        """A turn of those behind has ended; ``more``: what it might have was not enough for some."""
        if not more or not self.stands_back(now):
            self._full_since = None
        elif self._full_since is None or now - self._behind_at > STAND_BACK_SECONDS:
            self._full_since = now
        self._behind_at = now
        self._opens_at = now + PACE_SECONDS
