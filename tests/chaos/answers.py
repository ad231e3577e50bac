"""What the receiver answers, by seed: to the same notification's same attempt always the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

OK, RESET, BROKEN_OFF, NEVER = "200", "reset", "broken off", "never"

# Answer, share of all requests, the shortest and the longest time until it goes out as parts of the partner's time-out.
# The last two straddle the time-out itself: the partner has succeeded, and its answer comes just too late, or just not.
_PLAN = (
    ("500", 0.03, 0.0, 0.02),
    ("503", 0.02, 0.0, 0.02),
    (RESET, 0.015, 0.0, 0.02),
    (BROKEN_OFF, 0.005, 0.0, 0.02),
    (NEVER, 0.005, 0.0, 0.0),
    (OK, 0.02, 0.2, 0.75),
    (OK, 0.003, 0.95, 1.05),
    (OK, 0.002, 1.2, 1.6),
)


@dataclass(frozen=True, slots=True)
class Reply:
    answer: str
    delay_seconds: float


def plan(seed: int, path: str, attempt: int, *, timeout_seconds: float) -> Reply:
    """One request in ten fails, one in forty succeeds slowly, the others succeed within 30 ms."""
    numbers = random.Random(f"{seed} {path} {attempt}")
    draw = numbers.random()
    for answer, share, shortest, longest in _PLAN:
        draw -= share
        if draw < 0:
            return Reply(answer, numbers.uniform(shortest, longest) * timeout_seconds)
    return Reply(OK, max(0.0, numbers.uniform(-0.03, 0.03)))
