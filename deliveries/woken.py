"""The partners that have work, in the order of their turns, and those that get a turn later."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Collection, Iterable, Mapping

from deliveries.slots import Slots

# Beside prompt partners so many others get a turn at once, so that a thousand of them do not make it long.
OTHERS_BESIDE = 25
# A partner beside others gets so many rows a turn at most.
SHARED_ROWS = 25
# One that is slow or has not answered yet gets no more at once: what it holds, it may hold for long.
UNPROVEN_ROWS = 100


class Woken:
    """Safe for threads. A partner is in it once, however often it is woken; ``take`` gives each its turn, first come first.

    Prompt partners come before slow and unproven ones. Who may not have a slot now stays, and takes no turn.
    """

    def __init__(self, slots: int) -> None:
        self._condition = threading.Condition()
        self._slots = Slots(slots)
        self._prompt: dict[str, None] = {}
        self._others: dict[str, None] = {}
        self._later: list[tuple[float, str]] = []
        # The earliest time in _later of each partner; entries that are not it are passed over.
        self._alarms: dict[str, float] = {}
        self._on_release: set[str] = set()
        self._stopped = False

    @property
    def free(self) -> int:
        """Free slots."""
        return self._slots.free

    def wake(self, partner_ids: Iterable[str]) -> None:
        """These have work now."""
        with self._condition:
            self._ready(partner_ids, time.monotonic())
            self._condition.notify_all()

    def wake_later(self, partner_ids: Collection[str], seconds: float) -> None:
        """These have work after so many seconds, or sooner where an earlier call said so."""
        at = time.monotonic() + seconds
        with self._condition:
            for partner_id in partner_ids:
                if at < self._alarms.get(partner_id, float("inf")):
                    self._alarms[partner_id] = at
                    heapq.heappush(self._later, (at, partner_id))
            self._condition.notify_all()

    def wake_on_release(self, partner_ids: Iterable[str]) -> None:
        """These may have work as soon as one of their own slots is free."""
        with self._condition:
            self._on_release.update(partner_ids)

    def occupy(self, counts: Mapping[str, int]) -> None:
        """These slots are in use now."""
        with self._condition:
            now = time.monotonic()
            for partner_id, count in counts.items():
                self._slots.occupy(partner_id, count, now)

    def release(self, finished: Collection[tuple[str, float]]) -> None:
        """A slot each of these partners is free again, after a request of so many seconds."""
        with self._condition:
            now = time.monotonic()
            for partner_id, took_seconds in finished:
                self._slots.release(partner_id, took_seconds, now)
                if partner_id in self._on_release:
                    self._on_release.discard(partner_id)
                    self._ready((partner_id,), now)
            self._condition.notify_all()

    def give_back(self, counts: Mapping[str, int]) -> None:
        """These slots were not used after all."""
        with self._condition:
            for partner_id, count in counts.items():
                self._slots.give_back(partner_id, count)
            self._condition.notify_all()

    def wait_for_release(self, timeout: float) -> None:
        """Until all slots are free, or so many seconds have passed."""
        with self._condition:
            self._condition.wait_for(lambda: self._slots.free == self._slots.total, timeout)

    def stop(self) -> None:
        """No more turns."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def take(self, most_partners: int, *, most_rows: int, timeout: float) -> dict[str, int]:
        """The next partners, off the set, with the slots that each may have; empty after ``timeout`` seconds, or when stopped.

        They are taken off before their rows are read, so that a row committed later finds a wake.
        """
        give_up = time.monotonic() + timeout
        with self._condition:
            while not self._stopped:
                now = time.monotonic()
                self._ring(now)
                if taken := self._next(most_partners, most_rows, now):
                    return taken
                if now >= give_up:
                    return {}
                alarm = min(give_up, self._later[0][0]) if self._later else give_up
                self._condition.wait(alarm - now)
            return {}

    def _ring(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            at, partner_id = heapq.heappop(self._later)
            if self._alarms.get(partner_id) == at:
                del self._alarms[partner_id]
                self._ready((partner_id,), now)

    def _ready(self, partner_ids: Iterable[str], now: float) -> None:
        for partner_id in partner_ids:
            if partner_id not in self._prompt and partner_id not in self._others:
                (self._prompt if self._slots.is_prompt(partner_id, now) else self._others)[partner_id] = None

    def _next(self, most_partners: int, most_rows: int, now: float) -> dict[str, int]:
        self._sort(most_partners, now)
        prompt = list(itertools.islice(self._prompt, most_partners))
        room = most_partners - len(prompt)
        others = min(room, OTHERS_BESIDE if prompt else room)
        most = _rows_each(most_rows, len(prompt) + min(others, len(self._others)))
        taken = self._slots.shares(prompt, limit=len(prompt), most=most, prompt=True, now=now)
        if others and self._others:
            spoken_for = sum(taken.values())
            taken |= self._slots.shares(
                self._others,
                limit=others,
                most=min(most, UNPROVEN_ROWS),
                prompt=False,
                now=now,
                spoken_for=spoken_for,
            )
        for partner_id in taken:
            self._prompt.pop(partner_id, None)
            self._others.pop(partner_id, None)
        return taken

    def _sort(self, most_partners: int, now: float) -> None:
        """Partners at the head of each line that have changed their kind while they waited go to the other."""
        for line, other, prompt in ((self._prompt, self._others, True), (self._others, self._prompt, False)):
            changed = [
                partner_id
                for partner_id in itertools.islice(line, most_partners)
                if self._slots.is_prompt(partner_id, now) is not prompt
            ]
            for partner_id in changed:
                del line[partner_id]
                other[partner_id] = None


def _rows_each(most_rows: int, partners: int) -> int:
    """The same part of the turn for each, what some cannot take is not shared out again; the whole for one alone.

    One with much to do beside others gets less than its part: its next turn comes at once, and theirs is the shorter.
    """
    return most_rows if partners <= 1 else max(1, min(SHARED_ROWS, most_rows // partners))
