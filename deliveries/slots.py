"""Who holds the engine's slots, and how many more each partner may take: no partner, and no kind of partner, can hold all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# A partner that lets a request wait for longer than this is slow, until one comes back sooner.
PROMPT_SECONDS = 1.0
# Slow partners, and those that have not answered yet, share this part of the slots; prompt ones have the rest for themselves.
SLOW_SHARE = 0.5
# Dynamic threshold (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998): a
# partner may hold so many times what is free. One alone gets 2/3 of the slots, fifty greedy ones 2/101 each, and what they
# leave free is there for the next one (deliveries/woken.py, FREE_WITHIN_SECONDS).
PROMPT_THRESHOLD = 2.0
SLOW_THRESHOLD = 1.0


@dataclass(slots=True)
class _Holder:
    """A partner's slots, and when it last showed that it answers promptly (or took its first slot)."""

    count: int
    progress_at: float


class Slots:
    """Not safe for threads: ``Woken`` guards it. Times are the caller's monotonic clock, in seconds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._holders: dict[str, _Holder] = {}
        # Of partners whose last request came back, whether it did so in time.
        self._prompt: dict[str, bool] = {}

    def occupy(self, partner_id: str, count: int, now: float) -> None:
        self.free -= count
        holder = self._holders.get(partner_id)
        if holder is None:
            self._holders[partner_id] = _Holder(count, now)
        else:
            holder.count += count

    def release(self, partner_id: str, took_seconds: float, now: float) -> None:
        """One slot is free again: its request came back after so many seconds."""
        self.free += 1
        holder = self._holders[partner_id]
        holder.count -= 1
        prompt = took_seconds <= PROMPT_SECONDS
        self._prompt[partner_id] = prompt
        if prompt:
            holder.progress_at = now
        if not holder.count:
            del self._holders[partner_id]

    def give_back(self, partner_id: str, count: int) -> None:
        """These slots were never used: they say nothing about the partner."""
        self.free += count
        holder = self._holders[partner_id]
        holder.count -= count
        if not holder.count:
            del self._holders[partner_id]

    def is_prompt(self, partner_id: str, now: float) -> bool:
        """Whether the last request came back promptly, and none has been kept waiting since."""
        if not self._prompt.get(partner_id, False):
            return False
        holder = self._holders.get(partner_id)
        return holder is None or now - holder.progress_at <= PROMPT_SECONDS

    def slow_free(self, now: float) -> int:
        """What is free of the part that slow and unproven partners share."""
        held = sum(holder.count for partner_id, holder in self._holders.items() if not self.is_prompt(partner_id, now))
        return min(self.free, max(1, int(self.total * SLOW_SHARE)) - held)

    def shares(
        self,
        partner_ids: Iterable[str],
        *,
        limit: int,
        most: int,
        enough: float = math.inf,
        prompt: bool,
        now: float,
        spoken_for: int = 0,
        slow_spoken_for: int = 0,
    ) -> dict[str, int]:
        """How many slots the first ``limit`` of these that may take any may take, at most ``most`` each. Once ``enough`` are given,
        nobody gets less than half of ``most``.

        ``prompt``: of all that is free, else of the slow ones' part. ``spoken_for``: slots that others get in this turn, and
        ``slow_spoken_for``: those of them that are of the slow ones' part.
        """
        free = self.free - spoken_for
        if not prompt:
            # What prompt ones got comes off what is free, not off the slow ones' part.
            free = min(free, self.slow_free(now) - slow_spoken_for)
        threshold = PROMPT_THRESHOLD if prompt else SLOW_THRESHOLD
        found: dict[str, int] = {}
        given = 0
        for partner_id in partner_ids:
            if free <= 0 or len(found) == limit:
                break
            holder = self._holders.get(partner_id)
            held = 0 if holder is None else holder.count
            # Taking n leaves free − n: the n for which held + n = threshold · (free − n).
            fair = int((threshold * free - held) / (1 + threshold))
            share = min(most, max(fair, 0 if held else 1))
            if share > 0 and (given < enough or share * 2 >= most):
                found[partner_id] = share
                free -= share
                given += share
        return found
