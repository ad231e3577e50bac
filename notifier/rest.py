"""How long what works in turns rests between two of them, so that under load each does more."""

from __future__ import annotations

MOST_RESTS = 4.0


def lengthened(rest_seconds: float, *, carried: int, few: int) -> float:
    """Up to four times the rest after a turn that carried more than ``few``, as the next would carry as many."""
    return rest_seconds * min(max(1.0, carried / few), MOST_RESTS)
