"""How many of a partner's waiting notifications may go now, else why not. Claim and explain ask the same function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Wait(StrEnum):
    """Why a due notification does not go."""

    PAUSED = "paused"  # an operator paused the partner, or disabled it


@dataclass(frozen=True, slots=True)
class Permit:
    """How many may go now; where none may, why."""

    count: int
    wait: Wait | None = None


def permit(*, enabled: bool, paused: bool, slots: int) -> Permit:
    """The permit for one partner, given the engine slots that are its share of this claim."""
    if paused or not enabled:
        return Permit(0, Wait.PAUSED)
    return Permit(slots)
