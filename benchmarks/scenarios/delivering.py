"""Emptying a backlog. Ours until it is empty, the recipe over a window of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.ground import PROMPT, SLOW, Ground
from benchmarks.processes import memory_mb
from benchmarks.recipe import Recipe
from benchmarks.sides import DENSE, WORKERS
from tests.support.waiting import wait_until

SAMPLE_SECONDS = 0.05
# From here on the recipe gets the pool for slow partners.
SLOW_FROM_MS = 20


@dataclass(frozen=True, slots=True)
class Drained:
    rate: float
    count: int
    cpu: dict[str, float]
    in_flight: float
    memory_mb: float


def dense(ground: Ground, tick: Callable[[str], None]) -> None:
    figure = ground.results.figure(
        "deliver", f"delivered, backlog of {ground.plan.backlog:,}, {DENSE} partners", "/s", goal="≥ 15 ×"
    )
    ground.use_pool(PROMPT)
    compare(ground, figure, tick, rows=ground.plan.backlog, partners=DENSE, path="/0")


def sparse(ground: Ground, tick: Callable[[str], None]) -> None:
    partners = ground.plan.sparse_partners
    figure = ground.results.figure("deliver_sparse", f"delivered, {partners:,} partners × 10", "/s", goal="≥ 15 ×")
    ground.use_pool(PROMPT)
    compare(ground, figure, tick, rows=partners * 10, partners=partners, path="/0")


def slow(ground: Ground, tick: Callable[[str], None]) -> None:
    figure = ground.results.figure("deliver_300ms", "delivered, the partner takes 300 ms", "/s", goal="≥ 15 ×")
    ground.use_pool(SLOW)
    compare(ground, figure, tick, rows=ground.plan.backlog, partners=DENSE, path="/300")


def compare(
    ground: Ground, figure: Figure, tick: Callable[[str], None], *, rows: int, partners: int, path: str
) -> None:
    for number in range(ground.plan.rounds):
        tick(f"{figure.name} {number + 1}: ours")
        mine = drain_ours(ground, rows=rows, partners=partners, path=path, workers=WORKERS)
        figure.ours.append(mine.rate)
        figure.add_cpu("ours", mine.cpu, mine.count)
        figure.note("in flight", mine.in_flight)
        figure.note("worker MB, the larger", mine.memory_mb)
        tick(f"{figure.name} {number + 1}: recipe")
        theirs = drain_recipe(ground, partners=partners, path=path)
        figure.recipe.append(theirs.rate)
        figure.add_cpu("recipe", theirs.cpu, theirs.count)
        figure.note("recipe in flight", theirs.in_flight)
        figure.note("recipe worker MB", theirs.memory_mb)


def drain_ours(
    ground: Ground, *, rows: int, partners: int, path: str, workers: tuple[str, ...] = ("worker",)
) -> Drained:
    """From the moment at which the worker may begin until the last result is in the database."""
    ours, receiver = ground.ours, ground.receiver
    with ground.only(ours):
        with ours.frozen(*workers):
            ours.clear()
            ours.fill(rows, partners, path)
            arrived, meter = receiver.arrived, ground.meter(ours)
            sampler = Sampler(ground, [ours.processes[name].pid for name in workers])
            begun = time.monotonic()
        wait_until(
            lambda: receiver.arrived - arrived >= rows and not ours.unfinished(),
            seconds=600, what="ours to empty the backlog", every=0.05,
        )  # fmt: skip
        seconds = time.monotonic() - begun
        in_flight, memory = sampler.stop()
        cpu = meter.read()
    if receiver.arrived - arrived != rows or ours.delivered() != rows:
        raise SystemExit(f"ours delivered {ours.delivered()} of {rows} in {receiver.arrived - arrived} requests")
    return Drained(rows / seconds, rows, cpu, in_flight, memory)


def drain_recipe(ground: Ground, *, partners: int, path: str, recipe: Recipe | None = None) -> Drained:
    """Over a window, with more waiting than it can send meanwhile."""
    plan, recipe, receiver = ground.plan, recipe or ground.recipe, ground.receiver
    with ground.only(recipe):
        with recipe.frozen("worker"):
            recipe.clear()
            recipe.fill(min(plan.backlog, int(1500 * (plan.window_seconds + plan.warm_up_seconds))), partners, path)
        threading.Event().wait(plan.warm_up_seconds)
        arrived, meter = receiver.arrived, ground.meter(recipe)
        sampler = Sampler(ground, [recipe.processes["worker"].pid])
        begun = time.monotonic()
        threading.Event().wait(plan.window_seconds)
        count, seconds = receiver.arrived - arrived, time.monotonic() - begun
        in_flight, memory = sampler.stop()
        cpu = meter.read()
        if not recipe.unfinished():
            raise SystemExit("the recipe emptied its backlog within the window: it must be larger")
        recipe.broker.flushdb()
        wait_until(lambda: settled(ground), seconds=30, what="the recipe's last requests", every=0.3)
    return Drained(count / seconds, count, cpu, in_flight, memory)


def settled(ground: Ground) -> bool:
    """Nothing has arrived for a moment."""
    before = ground.receiver.arrived
    threading.Event().wait(0.3)
    return ground.receiver.arrived == before and ground.receiver.counts.waiting == 0


def two_workers(ground: Ground, tick: Callable[[str], None]) -> None:
    """By CPU time, as the machine has no cores to spare: so many deliveries a second would be, had each worker its own."""
    figure = ground.results.figure(
        "workers", "two workers against one, by their CPU time", "/s", goal="≥ 1.8 ×", against="one"
    )
    plan, ours = ground.plan, ground.ours
    for number in range(plan.rounds):
        tick(f"workers {number + 1}: one")
        with ours.frozen("worker2"):
            one = drain_ours(ground, rows=plan.backlog, partners=DENSE, path="/0")
        tick(f"workers {number + 1}: two")
        two = drain_ours(ground, rows=plan.backlog, partners=DENSE, path="/0", workers=WORKERS)
        figure.recipe.append(one.count / one.cpu["worker"])
        figure.ours.append(2 * two.count / (two.cpu["worker"] + two.cpu["worker2"]))
        figure.note("one: measured on these cores, /s", one.rate)
        figure.note("two: measured on these cores, /s", two.rate)
        figure.note("one: database CPU ms each", one.cpu["database"] / one.count * 1000)
        figure.note("two: database CPU ms each", two.cpu["database"] / two.count * 1000)


def curve(ground: Ground, tick: Callable[[str], None]) -> None:
    """Throughput against the partner's latency."""
    plan = ground.plan
    found: dict[str, list[float]] = {"latency_ms": list(plan.curve), "ours": [], "recipe": []}
    for latency in plan.curve:
        ground.use_pool(PROMPT if latency < SLOW_FROM_MS else SLOW)
        mine, theirs = [], []
        for number in range(plan.curve_rounds):
            tick(f"curve {latency} ms {number + 1}: ours")
            mine.append(drain_ours(ground, rows=plan.backlog // 2, partners=DENSE, path=f"/{latency}").rate)
            tick(f"curve {latency} ms {number + 1}: recipe")
            theirs.append(drain_recipe(ground, partners=DENSE, path=f"/{latency}").rate)
        found["ours"].append(statistics.median(mine))
        found["recipe"].append(statistics.median(theirs))
    ground.results.curves["throughput"] = found


class Sampler:
    """Requests that wait at the receiver, and memory, from its making to ``stop``."""

    def __init__(self, ground: Ground, pids: list[int]) -> None:
        self._ground, self._pids = ground, pids
        self._waiting: list[float] = []
        self._memory = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._waiting.append(self._ground.receiver.counts.waiting)
            if len(self._waiting) % 10 == 1:
                self._memory = max(self._memory, *(memory_mb(pid) for pid in self._pids))

    def stop(self) -> tuple[float, float]:
        """(median of what was in flight in the middle half of the time, highest memory of a worker in MB)."""
        self._ended.set()
        self._thread.join()
        quarter = len(self._waiting) // 4
        middle = self._waiting[quarter : len(self._waiting) - quarter] or [0.0]
        return statistics.median(middle), self._memory
