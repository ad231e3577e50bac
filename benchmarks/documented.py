"""Puts the newest results into docs/performance.md, between its markers, and draws its plots."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import model, report
from benchmarks.figures import Results, load, median, newest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_MARKED = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Whose CPU is shown, and under which name.
CPU_SPLIT: dict[str, str] = {
    "deliver": "deliver", "accept": "accept", "batch": "accept,\nbatches", "together": "both",
    "together_batch": "both,\nbatches",
}  # fmt: skip
# Files beside the page, their titles, and whether results have what they show.
PLOTS: dict[str, tuple[str, Callable[[Results], bool]]] = {
    "performance-throughput": ("Throughput against partner latency", lambda results: "throughput" in results.curves),
    "performance-table-size": ("Cost against table size", lambda results: "scale" in results.curves),
    "performance-latency": ("Latency of steady posts on an idle machine", lambda results: "latency" in results.curves),
    "performance-cpu": (
        "CPU for each notification, by process",
        lambda results: any(name in results.figures for name in CPU_SPLIT),
    ),
}


def fill(text: str, results: Results | None) -> str:
    """The page with its marked parts made anew; without results they say how to make some."""

    def part(found: re.Match[str]) -> str:
        made = PARTS[found[2]](results) if results is not None else "No figures yet: `make bench` makes them.\n"
        return f"{found[1]}{made}{found[3]}"

    return _MARKED.sub(part, text)


def table(results: Results) -> str:
    lines = ["| " + " | ".join(report.COLUMNS) + " |", "|---" + "|--:" * (len(report.COLUMNS) - 1) + "|"]
    shown = [figure for figure in report.ordered(results) if not figure.name.startswith("pool_")]
    lines += ["| " + " | ".join(report.row(figure)) + " |" for figure in shown]
    return "\n".join(lines) + "\n"


def pools(results: Results) -> str:
    lines = ["| pool | delivered/s | CPU ms each |", "|---|--:|--:|"]
    for name, figure in results.figures.items():
        if name.startswith("pool_"):
            cpu = figure.cpu_total("recipe")
            lines.append(f"| {figure.title} | {median(figure.recipe):,.0f} | {'–' if cpu is None else f'{cpu:.1f}'} |")
    return "\n".join(lines) + "\n"


def notes(results: Results) -> str:
    """What belongs to a figure besides its value: memory, requests in flight, …"""
    lines = ["| of | what | median |", "|---|---|--:|"]
    for figure in report.ordered(results):
        lines += [
            f"| {figure.title} | {name} | {report.number(median(values))} |" for name, values in figure.notes.items()
        ]
    return "\n".join(lines) + "\n"


def machine(results: Results) -> str:
    where = results.machine
    dates = sorted(results.made.values())
    return (
        f"{where['cores']} cores of {where['cpu']}, {where['memory_gb']} GB, Linux {where['kernel']}, Python {where['python']}, "
        f"{where['database']}, {where['broker']}; measured from {dates[0]} to {dates[-1]} (the commit is the last word).\n"
    )


def plots(results: Results) -> str:
    shown = [f"![{title}]({name}.png)\n" for name, (title, has) in PLOTS.items() if has(results)]
    return "\n".join(shown)


def predicted(results: Results) -> str:
    lines = ["| what | predicted /s | bound by | measured /s | of it |", "|---|--:|---|--:|--:|"]
    lines += [
        f"| {each.title} | {each.rate:,.0f} | {each.bound_by} | {each.measured:,.0f} | {each.measured / each.rate:.0%} |"
        for each in model.predictions(results)
    ]
    return "\n".join(lines) + "\n"


PARTS = {"plots": plots, "model": predicted, "table": table, "pools": pools, "notes": notes, "machine": machine}


def write() -> None:
    # Only now: matplotlib takes a second to load, and the check of the page does without.
    from benchmarks import drawing  # noqa: PLC0415

    path = newest()
    results = load(path) if path else None
    PAGE.write_text(fill(PAGE.read_text(), results))
    if results is not None:
        drawing.draw(results, PAGE.parent)
