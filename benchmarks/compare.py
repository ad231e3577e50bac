"""Ours beside the textbook recipe: starts private servers, runs the scenarios, prints one table and keeps the figures."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.figures import Results, load, path_for
from benchmarks.ground import QUICK, Plan, ground
from benchmarks.scenarios import SCENARIOS, chosen, rounds_of
from config.limits import allow_many_files


def run(names: Sequence[str], *, quick: bool, rounds: int | None) -> None:
    plan = QUICK if quick else Plan()
    if rounds is not None:
        plan = replace(plan, rounds=rounds, curve_rounds=min(rounds, plan.curve_rounds))
    names = list(names) or chosen(quick=quick)
    allow_many_files()
    console = report.console()
    steps = sum(rounds_of(name, plan) for name in names)
    columns = (TextColumn("{task.description:40}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    begun = time.monotonic()
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("starting the servers", total=steps + 1)

        def tick(what: str) -> None:
            progress.update(task, description=what, advance=1)
            if not console.is_terminal:
                console.print(f"{time.monotonic() - begun:6.1f} s  {what}", highlight=False)

        with ground(plan, quick=quick) as made:
            try:
                for name in names:
                    made.ours.use_workers(SCENARIOS[name].workers)
                    SCENARIOS[name].run(made, tick)
                progress.update(task, description="done", completed=steps + 1)
            finally:
                # What was measured before something failed, or Ctrl-C, is kept.
                results = made.results
                _keep(results)
    print(f"{time.monotonic() - begun:.0f} s; written to {os.path.relpath(path_for(results))}")
    report.show(results, console)


def _keep(results: Results) -> None:
    """Write the results; scenarios that were not run now keep what they had on the same day and machine."""
    results.figures = {name: figure for name, figure in results.figures.items() if figure.ours or figure.recipe}
    path = path_for(results)
    before = load(path) if path.exists() else results
    replace(
        results,
        figures=before.figures | results.figures,
        curves=before.curves | results.curves,
        made=before.made | results.made,
    ).save(path)
