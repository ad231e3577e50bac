"""What the generator of load and the receiver reach by themselves: they must not be what limits the others."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.ground import Ground, run_load
from benchmarks.load import Job
from benchmarks.processes import tree_cpu_seconds
from benchmarks.receiver import address
from benchmarks.sides import PAYLOAD

CONNECTIONS = 32


def run(ground: Ground, tick: Callable[[str], None]) -> None:
    """The generator posts to the receiver, on the same cores."""
    figure = ground.results.figure("ceiling", "ceiling of producer and receiver: one posting to the other", "/s")
    for number in range(ground.plan.rounds):
        tick(f"ceiling {number + 1}")
        with ground.ours.frozen(), ground.recipe.frozen():
            before = tree_cpu_seconds(ground.receiver.process.pid)
            report = run_load(
                Job(
                    port=ground.receiver.port, path="/0", headers={"Content-Type": "application/json"},
                    bodies=[PAYLOAD], status=200, seconds=ground.plan.accept_seconds / 2, connections=CONNECTIONS,
                    host=address(0),
                )
            )  # fmt: skip
            used = tree_cpu_seconds(ground.receiver.process.pid) - before
        figure.ours.append(report.rate)
        figure.add_cpu("ours", {"receiver": used, "producer": report.cpu_seconds}, report.accepted)
