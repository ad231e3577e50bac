"""What is measured, one scenario a function; each adds its figures to the ground's results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.ground import Ground, Plan
from benchmarks.scenarios import accepting, ceilings, delivering, latency, pools, scale


@dataclass(frozen=True, slots=True)
class Scenario:
    """``run`` gets the ground and what shows how far it is, which it calls ``steps`` times a round.

    ``quick``: also in a quick run, which has the figures of the last line only. ``workers``: of ours.
    """

    run: Callable[[Ground, Callable[[str], None]], None]
    steps: int
    quick: bool = False
    workers: int = 1
    by_default: bool = True


# In the order of the table. The broker's loss comes last: the recipe's worker is not asked to survive it.
SCENARIOS = {
    "ceilings": Scenario(ceilings.run, 1, quick=True),
    "accept": Scenario(accepting.alone, 3, quick=True),
    "together": Scenario(accepting.together, 3, quick=True, workers=2),
    "latency": Scenario(latency.steady, 2, quick=True),
    "deliver": Scenario(delivering.dense, 2, quick=True, workers=2),
    "sparse": Scenario(delivering.sparse, 2, quick=True, workers=2),
    "slow": Scenario(delivering.slow, 2, quick=True, workers=2),
    "workers": Scenario(delivering.two_workers, 2, workers=2),
    "curve": Scenario(delivering.curve, 0),
    "tuned": Scenario(pools.tuned, 4),
    "scale": Scenario(scale.run, 1),
    "broker": Scenario(latency.broker_lost, 3),
    "pools": Scenario(pools.run, sum(map(len, pools.CANDIDATES.values())), by_default=False),
}


def chosen(*, quick: bool) -> list[str]:
    """What is run where nobody names anything."""
    return [name for name, scenario in SCENARIOS.items() if (scenario.quick if quick else scenario.by_default)]


def rounds_of(name: str, plan: Plan) -> int:
    """How many steps the scenario reports."""
    if name == "curve":
        return 2 * len(plan.curve) * plan.curve_rounds
    filling = 3 + 2 * plan.waiting // scale.CHUNK if name == "scale" else 0
    return SCENARIOS[name].steps * plan.rounds + filling
