"""Partners whose turn raised: found one by one, and kept out of the turns of others."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection

logger = logging.getLogger(__name__)


class Suspects:
    """One claimer's, in its thread. After a turn that raised, each of its partners gets a turn alone.

    Who raises alone is at fault: that is logged once by each claimer, and its turns stay turns alone until one succeeds. The sweep
    wakes it for as long as it has work.
    """

    def __init__(self) -> None:
        self._alone: deque[str] = deque()
        self._faulty: set[str] = set()

    def alone(self) -> list[str]:
        """The next partner that gets a turn by itself, if there is one."""
        return [self._alone.popleft()] if self._alone else []

    def without(self, partner_ids: list[str]) -> list[str]:
        """These partners without those at fault, whose turns come next."""
        if len(partner_ids) < 2 or self._faulty.isdisjoint(partner_ids):
            return partner_ids
        self._alone.extend(partner_id for partner_id in partner_ids if partner_id in self._faulty)
        return [partner_id for partner_id in partner_ids if partner_id not in self._faulty]

    def raised(self, partner_ids: Collection[str], error: Exception) -> None:
        """The turn of these raised."""
        if len(partner_ids) > 1:
            self._alone.extend(partner_ids)
            return
        for partner_id in partner_ids:
            if partner_id not in self._faulty:
                logger.error("nothing can be claimed for partner %s: %s", partner_id, type(error).__name__)
            self._faulty.add(partner_id)

    def cleared(self, partner_ids: Collection[str]) -> None:
        """The turn of these went well."""
        if self._faulty and len(partner_ids) == 1:
            self._faulty.difference_update(partner_ids)
