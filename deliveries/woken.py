"""The partners that have work, in the order of their turns, and those that get a turn later."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from deliveries.pace import Pace
from deliveries.slots import Slots

# Beside prompt partners so many others get a turn at once, so that a thousand of them do not make it long.
OTHERS_BESIDE = 25
# A partner beside others gets so many rows a turn at most.
SHARED_ROWS = 25
# Those behind wait so long at most for this part of the slots to be free: a turn of a few rows costs as much as one of a hundred,
# and under load slots come free by the few.
FREE_FOR_A_TURN = 1 / 6
FREE_WITHIN_SECONDS = 0.06
# With so many a turn is worth what it takes.
ENOUGH_ROWS = 50
# One that is slow or has not answered yet gets no more at once: what it holds, it may hold for long.
UNPROVEN_ROWS = 100


class Lane(Enum):
    """Whose turns a claimer gives."""

    ON_TIME = "on time"
    BEHIND = "behind"


@dataclass(slots=True)
class _Line:
    """Partners in the order of their wakes, with the time of the last: prompt ones, and slow and unproven ones."""

    prompt: dict[str, float] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.prompt or self.others)

    @property
    def parts(self) -> tuple[dict[str, float], dict[str, float]]:
        return self.prompt, self.others

    def woken_again(self, partner_id: str, now: float) -> bool:
        """Note it of one that is here, which keeps its place; False where it is not."""
        for part in self.parts:
            if partner_id in part:
                part[partner_id] = now
                return True
        return False

    def leave(self, partner_ids: Iterable[str]) -> None:
        for partner_id in partner_ids:
            self.prompt.pop(partner_id, None)
            self.others.pop(partner_id, None)

    def not_woken_since(self, moment: float) -> list[str]:
        return [partner_id for part in self.parts for partner_id, woken_at in part.items() if woken_at < moment]


class Woken:
    """Safe for threads. A partner is in it once, however often it is woken; ``take`` gives each its turn, first come first.

    Prompt partners come before slow and unproven ones. Who may not have a slot now stays, and takes no turn. Those that
    are served on time have one line and those that are behind (``Pace``) another: each is for a claimer of its own.
    """

    def __init__(
        self,
        slots: int,
        *,
        now: Callable[[], float] = time.monotonic,
        shuffle: Callable[[list[str]], None] = random.shuffle,
    ) -> None:
        self._now = now
        self._shuffle = shuffle
        self._lock = threading.Lock()
        # One for each claimer, so that what concerns the other does not wake it.
        self._changed = {lane: threading.Condition(self._lock) for lane in Lane}
        self._all_free = threading.Condition(self._lock)
        self._slots = Slots(slots)
        self._pace = Pace()
        self._lines = {lane: _Line() for lane in Lane}
        # Slots that a turn has been given and does not hold yet.
        self._promised = dict.fromkeys(Lane, 0)
        # Those of them that are of the slow ones' part.
        self._promised_slow = dict.fromkeys(Lane, 0)
        self._later: list[tuple[float, str]] = []
        # The earliest time in _later of each partner; entries that are not it are passed over.
        self._alarms: dict[str, float] = {}
        self._on_release: set[str] = set()
        # When each partner had its last turn, of those that had one since the last sweep began.
        self._taken_at: dict[str, float] = {}
        # Until when those behind wait for more slots; None where they do not.
        self._more_free_by: float | None = None
        self._stopped = False

    @property
    def free(self) -> int:
        """Free slots."""
        return self._slots.free

    def wake(self, partner_ids: Iterable[str]) -> None:
        """These have work now."""
        with self._lock:
            self._ready(partner_ids, self._now())
            self._tell()

    def swept(self, due: Collection[str], *, begun: float) -> list[str]:
        """A sweep that began then found these to have work; returns those of them that were in no line. Who was woken before and
        is not among them has none left: another worker was faster, and a turn would be for nothing. So it would be for who has
        had one since.
        """
        with self._lock:
            found = set(due)
            for line in self._lines.values():
                line.leave(partner_id for partner_id in line.not_woken_since(begun) if partner_id not in found)
            self._taken_at = {partner_id: at for partner_id, at in self._taken_at.items() if at > begun}
            due = [partner_id for partner_id in due if partner_id not in self._taken_at]
            # Each worker has an order of its own: in the same one they would meet at each partner.
            self._shuffle(due)
            new = self._ready(due, self._now())
            self._tell()
            return new

    def wake_later(self, partner_ids: Collection[str], seconds: float) -> None:
        """These have work after so many seconds, or sooner where an earlier call said so."""
        at = self._now() + seconds
        with self._lock:
            for partner_id in partner_ids:
                if at < self._alarms.get(partner_id, float("inf")):
                    self._alarms[partner_id] = at
                    heapq.heappush(self._later, (at, partner_id))
            if self._later and self._later[0][0] >= at:
                for changed in self._changed.values():
                    changed.notify()

    def wake_on_release(self, partner_ids: Iterable[str]) -> None:
        """These may have work as soon as one of their own slots is free."""
        with self._lock:
            self._on_release.update(partner_ids)

    def occupy(self, counts: Mapping[str, int], *, lane: Lane | None = None) -> None:
        """These slots are in use now; ``lane``: and the others that its turn might have had are not needed."""
        with self._lock:
            now = self._now()
            for partner_id, count in counts.items():
                self._slots.occupy(partner_id, count, now)
            if lane is not None:
                self._promised[lane] = self._promised_slow[lane] = 0
                self._tell()

    def release(self, finished: Collection[tuple[str, float]]) -> None:
        """A slot each of these partners is free again, after a request of so many seconds."""
        with self._lock:
            now = self._now()
            for partner_id, took_seconds in finished:
                self._slots.release(partner_id, took_seconds, now)
                if partner_id in self._on_release:
                    self._on_release.discard(partner_id)
                    self._ready((partner_id,), now)
            self._tell()

    def give_back(self, counts: Mapping[str, int]) -> None:
        """These slots were not used after all."""
        with self._lock:
            for partner_id, count in counts.items():
                self._slots.give_back(partner_id, count)
            self._tell()

    def served(
        self,
        lane: Lane,
        *,
        on_time: Collection[str],
        behind: Collection[str],
        more: bool,
        caught_up: Collection[str] = (),
    ) -> None:
        """The last turn has ended: of whom something was claimed, and whether of those behind some have more."""
        with self._lock:
            now = self._now()
            self._pace.served(on_time=on_time, behind=behind, caught_up=caught_up, now=now)
            if lane is Lane.BEHIND and behind:
                self._pace.paused(more=more or bool(self._lines[Lane.BEHIND]), now=now)

    def claimed(self, lane: Lane, rows: int) -> None:
        """So many rows the last turn has claimed."""
        if lane is Lane.ON_TIME:
            with self._lock:
                self._pace.claimed(rows)

    def wait_for_release(self, timeout: float) -> None:
        """Until all slots are free, or so many seconds have passed."""
        with self._lock:
            self._all_free.wait_for(lambda: self._slots.free == self._slots.total, timeout)

    def stop(self) -> None:
        """No more turns."""
        with self._lock:
            self._stopped = True
            for changed in self._changed.values():
                changed.notify()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def take(self, lane: Lane, most_partners: int, *, most_rows: int, timeout: float) -> dict[str, int]:
        """The next partners, off the set, with the slots that each may have; empty after ``timeout`` seconds, or when stopped.

        They are taken off before their rows are read, so that a row committed later finds a wake.
        """
        give_up = self._now() + timeout
        with self._lock:
            self._promised[lane] = self._promised_slow[lane] = 0
            while not self._stopped:
                now = self._now()
                self._ring(now)
                if taken := self._next(lane, most_partners, most_rows, now):
                    return taken
                if now >= give_up:
                    return {}
                self._changed[lane].wait(min(give_up, self._next_alarm(lane, now)) - now)
            return {}

    def _tell(self) -> None:
        """There may be a turn for these now, or everything has come back."""
        for lane, line in self._lines.items():
            if line:
                self._changed[lane].notify()
        if self._slots.free == self._slots.total:
            self._all_free.notify_all()

    def _next_alarm(self, lane: Lane, now: float) -> float:
        """When something may have changed that nobody tells."""
        alarm = self._later[0][0] if self._later else float("inf")
        if lane is Lane.BEHIND and self._lines[lane]:
            changes = (self._pace.opens_at(now), self._more_free_by or 0.0)
            return min([alarm, *(at for at in changes if at > now)])
        return alarm

    def _ring(self, now: float) -> None:
        rang = False
        while self._later and self._later[0][0] <= now:
            at, partner_id = heapq.heappop(self._later)
            if self._alarms.get(partner_id) == at:
                del self._alarms[partner_id]
                self._ready((partner_id,), now)
                rang = True
        if rang:
            # Not otherwise: with no slot free, two claimers would wake each other for ever.
            self._tell()

    def _ready(self, partner_ids: Iterable[str], now: float) -> list[str]:
        """Those of them that were in no line."""
        new = []
        for partner_id in partner_ids:
            if not any(line.woken_again(partner_id, now) for line in self._lines.values()):
                line = self._lines[Lane.ON_TIME if self._pace.is_on_time(partner_id) else Lane.BEHIND]
                (line.prompt if self._slots.is_prompt(partner_id, now) else line.others)[partner_id] = now
                new.append(partner_id)
        return new

    def _next(self, lane: Lane, most_partners: int, most_rows: int, now: float) -> dict[str, int]:
        line = self._lines[lane]
        if not line:
            return {}
        if lane is Lane.BEHIND and self._waits_for_slots(line, now):
            return {}
        if lane is Lane.BEHIND and self._pace.stands_back(now):
            if now < self._pace.opens_at(now):
                return {}
            most_rows = min(most_rows, self._pace.rows(now))
            most_partners = min(most_partners, most_rows)
        return self._turn(lane, most_partners, most_rows, now)

    def _waits_for_slots(self, line: _Line, now: float) -> bool:
        free = self._slots.free if line.prompt else self._slots.slow_free(now)
        if free >= int(self._slots.total * FREE_FOR_A_TURN):
            return False
        if self._more_free_by is None:
            self._more_free_by = now + FREE_WITHIN_SECONDS
        return now < self._more_free_by

    def _turn(self, lane: Lane, most_partners: int, most_rows: int, now: float) -> dict[str, int]:
        line, promised = self._lines[lane], sum(self._promised.values())
        self._sort(line, most_partners, now)
        others = min(len(line.others), most_partners)
        if line.prompt:
            # A place for some of them in each turn, however many prompt ones there are.
            others = min(others, OTHERS_BESIDE, max(1, most_partners // 4))
        prompt = min(len(line.prompt), max(1, most_partners - others))
        rows, rows_others = _rows_each(most_rows, prompt, others)
        # Of those behind nobody has a turn for a small part of what it might have: it would only have to come again.
        enough = ENOUGH_ROWS if lane is Lane.BEHIND else math.inf
        first = self._slots.shares(
            line.prompt, limit=prompt, most=rows, enough=enough, prompt=True, now=now, spoken_for=promised
        )
        then = self._slots.shares(
            line.others,
            limit=others,
            most=min(rows_others, UNPROVEN_ROWS),
            enough=enough,
            prompt=False,
            now=now,
            spoken_for=promised + sum(first.values()),
            slow_spoken_for=sum(self._promised_slow.values()),
        )
        self._promised[lane] = sum(first.values()) + sum(then.values())
        self._promised_slow[lane] = sum(then.values())
        if lane is Lane.BEHIND and (first or then):
            self._more_free_by = None
        taken = first | then
        line.leave(taken)
        self._taken_at |= dict.fromkeys(taken, now)
        return taken

    def _sort(self, line: _Line, most_partners: int, now: float) -> None:
        """Partners at the head that have changed their kind while they waited go to the other part."""
        for part, other, prompt in ((line.prompt, line.others, True), (line.others, line.prompt, False)):
            changed = [
                partner_id
                for partner_id in itertools.islice(part, most_partners)
                if self._slots.is_prompt(partner_id, now) is not prompt
            ]
            for partner_id in changed:
                other[partner_id] = part.pop(partner_id)


def _rows_each(most_rows: int, prompt: int, others: int) -> tuple[int, int]:
    """How many rows each prompt partner of a turn may have, and each other; what some cannot take is not shared out again.

    The whole for one alone. One with much to do beside others gets less than its part: its next turn comes at once, and
    theirs is the shorter.
    """
    if prompt + others == 1:
        return most_rows, most_rows
    each_other = max(1, min(SHARED_ROWS, most_rows // (prompt + others)))
    return max(1, min(SHARED_ROWS, (most_rows - others * each_other) // max(1, prompt))), each_other
