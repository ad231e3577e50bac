"""The recipe at its best: which worker pool is chosen for it, and what tuning beyond the textbook would give."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.ground import PROMPT, Ground
from benchmarks.scenarios.accepting import accept
from benchmarks.scenarios.delivering import drain_recipe
from benchmarks.sides import DENSE

# What could be the best, for partners that answer at once and for those that take 300 ms.
CANDIDATES = {
    "/0": (
        ("prefork", 2),
        ("prefork", 4),
        ("prefork", 8),
        ("prefork", 16),
        ("threads", 4),
        ("threads", 16),
        ("gevent", 16),
    ),
    "/300": (("prefork", 48), ("prefork", 96), ("threads", 64), ("threads", 200), ("gevent", 64), ("gevent", 200)),
}


def run(ground: Ground, tick: Callable[[str], None]) -> None:
    """The recipe alone, with each pool, against a prompt and a slow partner."""
    for path, candidates in CANDIDATES.items():
        what = f"partner takes {path[1:]} ms"
        for pool, concurrency in candidates:
            figure = ground.results.figure(
                f"pool_{pool}_{concurrency}_{path[1:]}", f"recipe, {pool} × {concurrency}, {what}", "/s"
            )
            ground.use_pool((pool, concurrency))
            for number in range(ground.plan.rounds):
                tick(f"{figure.name} {number + 1}")
                drained = drain_recipe(ground, partners=DENSE, path=path)
                figure.recipe.append(drained.rate)
                figure.add_cpu("recipe", drained.cpu, drained.count)


def tuned(ground: Ground, tick: Callable[[str], None]) -> None:
    """Ours beside the recipe by somebody who knows the insides (see ``benchmarks/textbook/settings.py``)."""
    results, plan = ground.results, ground.plan
    delivered = results.figure("tuned_deliver", "recipe, tuned: delivered, 20 partners", "/s", against="textbook")
    accepted = results.figure("tuned_accept", "recipe, tuned: accepted, single posts, no key", "/s", against="textbook")
    recipe = ground.make_recipe(tuned=True)
    recipe.start_worker(*PROMPT)
    ground.use_pool(PROMPT)
    ground.sides.append(recipe)
    try:
        for number in range(plan.rounds):
            for side, to in ((recipe, delivered.ours), (ground.recipe, delivered.recipe)):
                tick(f"tuned {number + 1}: deliver")
                to.append(drain_recipe(ground, partners=DENSE, path="/0", recipe=side).rate)
            for side, to in ((recipe, accepted.ours), (ground.recipe, accepted.recipe)):
                tick(f"tuned {number + 1}: accept")
                to.append(accept(ground, side, side.bodies("/0"))[0].rate)
    finally:
        ground.sides.remove(recipe)
        recipe.stop()
