"""What a throughput should be, from the processor time of each process and the number of cores; held against what was measured.

A notification costs each process some processor time. The machine has so many cores, and a Python process uses one of them at a time
(its interpreter's lock): the smallest of these bounds is the prediction. It knows no waiting: not for the disk's flush, not for a lock, not
for each other's caches. What is measured stays below it by as much as those cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.figures import Figure, Results, median

# Roles that are one Python process each.
INTERPRETERS = ("web", "worker", "worker2", "producer")
WORKERS = ("worker", "worker2")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Notifications a second, and what allows no more."""

    title: str
    rate: float
    bound_by: str
    measured: float


def bound(cores: int, costs: Mapping[str, float]) -> tuple[float, str]:
    """The rate (1/s) that the costs (ms each, by process) allow, and what it is bound by."""
    bounds = {"the machine's cores": cores * 1000 / sum(costs.values())}
    bounds |= {
        f"{role}'s interpreter": 1000 / cost for role, cost in costs.items() if role in INTERPRETERS and cost > 0
    }
    by = min(bounds, key=lambda name: bounds[name])
    return bounds[by], by


def predictions(results: Results) -> list[Prediction]:
    """For what the results have the figures of."""
    cores, figures = int(results.machine["cores"]), results.figures
    made = [
        Prediction(figures[name].title, *bound(cores, _costs(figures[name])), median(figures[name].ours))
        for name in ("accept", "batch", "deliver", "deliver_sparse", "deliver_300ms")
        if name in figures
    ]
    if "deliver" not in figures:
        return made
    deliver = _costs(figures["deliver"])
    if "workers" in figures:
        alone = {role: cost for role, cost in deliver.items() if role not in WORKERS} | {"worker": _workers(deliver)}
        measured = median(figures["workers"].notes["one: measured on these cores, /s"])
        made.append(Prediction("the same backlog, one worker process", *bound(cores, alone), measured))
    for name, accepting in (("together", "accept"), ("together_batch", "batch")):
        if name in figures and accepting in figures:
            both = _costs(figures[accepting])
            both = {role: both.get(role, 0.0) + deliver.get(role, 0.0) for role in {*both, *deliver} - set(WORKERS)}
            both["worker"] = _workers(deliver)
            title = f"{figures[name].title}, from what each costs alone"
            made.append(Prediction(title, *bound(cores, both), median(figures[name].ours)))
    return made


def _costs(figure: Figure) -> dict[str, float]:
    return {role: median(values) for role, values in figure.cpu.get("ours", {}).items()}


def _workers(costs: Mapping[str, float]) -> float:
    return sum(costs.get(role, 0.0) for role in WORKERS)
