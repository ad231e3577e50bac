"""What is measured, one scenario a function; each adds its figures to the ground's results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.ground import Ground, Plan
from benchmarks.scenarios import accepting, ceilings, delivering


@dataclass(frozen=True, slots=True)
class Scenario:
    """``run`` gets the ground and what shows how far it is, which it calls ``steps`` times a round."""

    run: Callable[[Ground, Callable[[str], None]], None]
    steps: int
    by_default: bool = True


# In the order of the table.
SCENARIOS = {
    "ceilings": Scenario(ceilings.run, 1),
    "deliver": Scenario(delivering.dense, 2),
    "sparse": Scenario(delivering.sparse, 2),
    "slow": Scenario(delivering.slow, 2),
    "accept": Scenario(accepting.alone, 3),
    "together": Scenario(accepting.together, 3),
}


def rounds_of(name: str, plan: Plan) -> int:
    """How many steps the scenario reports."""
    return SCENARIOS[name].steps * plan.rounds
