"""How long it takes: from accepted to arrived at the partner, and of the API with and without its broker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from benchmarks.figures import percentile
from benchmarks.ground import PROMPT, Ground
from benchmarks.load import NUMBER, Report
from benchmarks.scenarios.accepting import check
from benchmarks.sides import Side
from tests.support.waiting import wait_until

POSTS_PER_SECOND = 200
# More than this many a second the recipe may not deliver at all, and its latency would be that of a growing queue.
RECIPE_POSTS_PER_SECOND = 50
CONNECTIONS = 32
PERCENTS = (50, 95, 99)
GOALS = {50: "≤ 10 ms", 95: "≤ 50 ms", 99: "≤ 100 ms"}
API_POSTS_PER_SECOND = 100
# Of the histogram: bins a decade, from 0.1 ms on.
BINS = 10


def steady(ground: Ground, tick: Callable[[str], None]) -> None:
    """Steady posts on an otherwise idle machine."""
    figures = {
        percent: ground.results.figure(
            f"latency_p{percent}",
            f"accepted → arrives at the partner, {POSTS_PER_SECOND}/s, p{percent}",
            "ms",
            goal=GOALS[percent],
            against=f"recipe at {RECIPE_POSTS_PER_SECOND}/s",
        )
        for percent in PERCENTS
    }
    histograms: dict[str, Counter[int]] = {"ours": Counter(), "recipe": Counter()}
    ground.use_pool(PROMPT)
    for number in range(ground.plan.rounds):
        for side, rate in ((ground.ours, POSTS_PER_SECOND), (ground.recipe, RECIPE_POSTS_PER_SECOND)):
            tick(f"latency {number + 1}: {side.name}")
            accepted, posted = _latencies(ground, side, rate)
            histograms[side.name].update(_bin(value) for value in accepted)
            for percent, figure in figures.items():
                (figure.ours if side is ground.ours else figure.recipe).append(percentile(accepted, percent))
                figure.note(f"{side.name}: from the post on, ms", percentile(posted, percent))
    ground.results.curves["latency"] = {
        name: sorted([10 ** (index / BINS), count] for index, count in histogram.items())
        for name, histogram in histograms.items()
    }


def _bin(milliseconds: float) -> int:
    return math.floor(math.log10(max(milliseconds, 0.1)) * BINS)


def _latencies(ground: Ground, side: Side, rate: float) -> tuple[list[float], list[float]]:
    """Milliseconds from the answer to the arrival, and from when the post was due to the arrival."""
    receiver = ground.receiver
    with ground.only(side):
        with side.frozen("worker"):
            side.clear()
        receiver.forget()
        report = _steady(ground, side, rate, f"/0/{NUMBER}")
        wait_until(
            lambda: len(receiver.arrivals()) >= report.accepted, seconds=60, what="all to arrive", every=0.2
        )  # fmt: skip
        arrived = receiver.arrivals()
    warm = int(ground.plan.warm_up_seconds * rate)
    posts = [post for post in report.posts if post[0] >= warm]
    # A request can reach the partner before its 202 has reached the producer.
    accepted = [max(0, arrived[number] - answered) / 1e6 for number, _, answered in posts]
    return accepted, [(arrived[number] - due) / 1e6 for number, due, _ in posts]


def _steady(ground: Ground, side: Side, rate: float, path: str) -> Report:
    plan = ground.plan
    report = ground.post(
        side, side.bodies(path), plan.latency_seconds, warm_up=plan.warm_up_seconds, rate=rate, connections=CONNECTIONS
    )
    check(side, report)
    return report


def broker_lost(ground: Ground, tick: Callable[[str], None]) -> None:
    """The API's answers with everything running, and with the broker gone or hanging."""
    gone, hangs = (
        ground.results.figure(
            f"broker_{how}_p99", f"API, p99 at {API_POSTS_PER_SECOND}/s, the broker {what}", "ms",
            goal="≤ 1.2 ×", against="broker up",
        )
        for how, what in (("gone", "is gone"), ("hangs", "hangs"))
    )  # fmt: skip
    for number in range(ground.plan.rounds):
        tick(f"broker {number + 1}: up")
        up = _answers(ground)
        tick(f"broker {number + 1}: gone")
        ground.valkey.stop()
        try:
            away = _answers(ground)
        finally:
            ground.valkey.start()
        wait_until(ground.ours.ready, seconds=30, what="the broker to be used again", every=0.2)
        tick(f"broker {number + 1}: hangs")
        with ground.hanging_broker():
            mute = _answers(ground)
        wait_until(ground.ours.ready, seconds=30, what="the broker to be used again", every=0.2)
        for figure, values in ((gone, away), (hangs, mute)):
            figure.ours.append(percentile(values, 99))
            figure.recipe.append(percentile(up, 99))
            figure.note("p50 ms", percentile(values, 50))
            figure.note("p50 ms, broker up", percentile(up, 50))


def _answers(ground: Ground) -> list[float]:
    """Milliseconds from when a post was due to its answer."""
    ours = ground.ours
    with ground.only(ours):
        report = _steady(ground, ours, API_POSTS_PER_SECOND, "/0")
    warm = int(ground.plan.warm_up_seconds * API_POSTS_PER_SECOND)
    return [(answered - due) / 1e6 for number, due, answered in report.posts if number >= warm]
