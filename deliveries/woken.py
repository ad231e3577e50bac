"""The partners that have work, in the order of their turns, and those that get a turn later."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Collection, Iterable


class Woken:
    """Safe for threads. A partner is in it once, however often it is woken; ``take`` gives each its turn, first come first.

    ``slots`` counts the free engine slots: nobody gets a turn while there is none.
    """

    def __init__(self, slots: int) -> None:
        self._condition = threading.Condition()
        self._partners: dict[str, None] = {}
        self._later: list[tuple[float, str]] = []
        self._stopped = False
        self.slots = slots

    def wake(self, partner_ids: Iterable[str]) -> None:
        """These have work now."""
        with self._condition:
            self._partners.update(dict.fromkeys(partner_ids))
            self._condition.notify_all()

    def wake_later(self, partner_ids: Collection[str], seconds: float) -> None:
        """These have work after so many seconds."""
        at = time.monotonic() + seconds
        with self._condition:
            for partner_id in partner_ids:
                heapq.heappush(self._later, (at, partner_id))
            self._condition.notify_all()

    def release(self, slots: int) -> None:
        with self._condition:
            self.slots += slots
            self._condition.notify_all()

    def occupy(self, slots: int) -> None:
        with self._condition:
            self.slots -= slots

    def wait_for_release(self, timeout: float) -> None:
        """Until slots become free, or so many seconds have passed."""
        with self._condition:
            self._condition.wait(timeout)

    def stop(self) -> None:
        """No more turns."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def take(self, most: int, *, timeout: float) -> list[str]:
        """The next partners, off the set; empty after ``timeout`` seconds without work, or when stopped.

        They are taken off before their rows are read, so that a row committed later finds a wake.
        """
        give_up = time.monotonic() + timeout
        with self._condition:
            while not self._stopped:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._partners[heapq.heappop(self._later)[1]] = None
                if self._partners and self.slots > 0:
                    taken = list(self._partners)[:most]
                    for partner_id in taken:
                        del self._partners[partner_id]
                    return taken
                if now >= give_up:
                    return []
                alarm = min(give_up, self._later[0][0]) if self._later else give_up
                self._condition.wait(alarm - now)
            return []
