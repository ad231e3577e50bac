"""Accepting: alone, with the workers standing still; and together with delivering, as much as is sustained."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure
from benchmarks.ground import PROMPT, Ground
from benchmarks.load import Report
from benchmarks.scenarios.delivering import settled
from benchmarks.sides import DENSE, WORKERS, Side
from tests.support.waiting import wait_until

BATCH = 100
CONNECTIONS = 8
# Accepted and not yet arrived, at most: the producers wait for the workers, so that the backlog does not grow.
WINDOW = 2000


def batches(ground: Ground) -> list[str]:
    """Each over all partners, as a producer's outbox would be."""
    items = [ground.ours.item(number % DENSE, "/0") for number in range(BATCH)]
    return [json.dumps({"notifications": items})]


def has_batches(ground: Ground) -> bool:
    answer = ground.ours.ask("POST", "/v1/notify/batch", {"notifications": []})
    return answer.status not in (404, 405)


def alone(ground: Ground, tick: Callable[[str], None]) -> None:
    results, plan = ground.results, ground.plan
    single = results.figure("accept", "accepted, single posts", "/s", goal="≥ 3.5 ×")
    batch = results.figure("batch", f"accepted, batches of {BATCH} (recipe: single posts)", "/s", goal="≥ 30 ×")
    ground.use_pool(PROMPT)
    for number in range(plan.rounds):
        tick(f"accept {number + 1}: ours")
        _accept(ground, ground.ours, single, ground.ours.bodies("/0"))
        tick(f"accept {number + 1}: recipe")
        _accept(ground, ground.recipe, single, ground.recipe.bodies("/0"))
        tick(f"batch {number + 1}: ours")
        if has_batches(ground):
            _accept(ground, ground.ours, batch, batches(ground), path="/v1/notify/batch", status=200, items=BATCH)
            batch.recipe.append(single.recipe[-1])
            batch.cpu["recipe"] = single.cpu["recipe"]


def _accept(ground: Ground, side: Side, figure: Figure, bodies: list[str], **more: Any) -> None:
    report, cpu = accept(ground, side, bodies, **more)
    (figure.ours if side is ground.ours else figure.recipe).append(report.rate)
    figure.add_cpu(side.name, cpu, report.accepted)


def accept(ground: Ground, side: Side, bodies: list[str], **more: Any) -> tuple[Report, dict[str, float]]:
    """Post as fast as the side answers; what came of it, and the CPU seconds of each process."""
    plan = ground.plan
    with ground.only(side), side.frozen(*(role for role in side.processes if role != "web")):
        side.clear()
        meter = ground.meter(side)
        report = ground.post(
            side, bodies, plan.accept_seconds, warm_up=plan.warm_up_seconds, connections=CONNECTIONS, **more
        )
        cpu = meter.read() | {"producer": report.cpu_seconds}
        side.clear()
    check(side, report)
    return report, cpu


def check(side: Side, report: Report) -> None:
    if report.refused:
        raise SystemExit(f"{side.name} refused posts: {report.refused}")


def together(ground: Ground, tick: Callable[[str], None]) -> None:
    results, plan = ground.results, ground.plan
    single = results.figure("together", "accepted and delivered together, single posts", "/s", goal="≥ 6 ×")
    batch = results.figure(
        "together_batch", f"accepted and delivered together, batches of {BATCH}", "/s", goal="≥ 14 ×"
    )
    ground.use_pool(PROMPT)
    for number in range(plan.rounds):
        tick(f"together {number + 1}: ours")
        with ground.ours.frozen("worker2"):
            _together(ground, ground.ours, single, ground.ours.bodies("/0"))
        tick(f"together {number + 1}: recipe")
        _together(ground, ground.recipe, single, ground.recipe.bodies("/0"))
        tick(f"together {number + 1}: ours, batches")
        if has_batches(ground):
            _together(
                ground, ground.ours, batch, batches(ground), workers=WORKERS,
                path="/v1/notify/batch", status=200, items=BATCH,
            )  # fmt: skip
            batch.recipe.append(single.recipe[-1])
            batch.cpu["recipe"] = single.cpu["recipe"]


def _together(
    ground: Ground,
    side: Side,
    figure: Figure,
    bodies: list[str],
    *,
    workers: tuple[str, ...] = ("worker",),
    **more: Any,
) -> None:
    plan = ground.plan
    with ground.only(side):
        with side.frozen(*workers):
            side.clear()
        arrived, meter = ground.receiver.arrived, ground.meter(side)
        report = ground.post(
            side, bodies, plan.together_seconds, warm_up=plan.warm_up_seconds, connections=CONNECTIONS,
            # Of the recipe's backlog the window holds seconds, as of ours.
            window=WINDOW if side is ground.ours else WINDOW // 10, **more,
        )  # fmt: skip
        check(side, report)
        wait_until(lambda: not side.unfinished(), seconds=120, what=f"{side.name} to deliver the rest", every=0.1)
        wait_until(lambda: settled(ground), seconds=30, what="the last request")
        cpu = meter.read()
        if ground.receiver.arrived - arrived != report.accepted:
            raise SystemExit(f"{side.name}: {report.accepted} accepted, {ground.receiver.arrived - arrived} arrived")
    assert report.arrived_rate is not None
    # Sustained is what both ends did.
    (figure.ours if side is ground.ours else figure.recipe).append(min(report.rate, report.arrived_rate))
    figure.add_cpu(side.name, cpu | {"producer": report.cpu_seconds}, report.accepted)
