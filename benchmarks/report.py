"""The table, and the one line at the end."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Results, median

LAST_LINE = ("deliver", "deliver_sparse", "deliver_300ms", "accept", "batch", "together", "together_batch")
LATENCY = "latency_p95"
# As the goals are listed; what is not here comes after these.
ORDER = (
    "ceiling", "deliver", "deliver_sparse", "deliver_300ms", "accept", "batch", "together", "together_batch",
    "latency_p50", "latency_p95", "latency_p99", "scale_claim", "scale_sweep", "scale_accept", "scale_page",
    "scale_page_filtered", "broker_gone_p99", "broker_hangs_p99", "workers",
)  # fmt: skip
COLUMNS = ("what", "ours", "recipe", "ratio", "spread", "goal", "CPU ms each: ours", "recipe", "ratio")


def console() -> Console:
    """Wide enough for the table where nobody watches."""
    return Console(width=None if os.isatty(1) else 160)


def show(results: Results, console: Console) -> None:
    """The table, and the last line."""
    print_table(results, console)
    print(last_line(results))


def print_table(results: Results, console: Console) -> None:
    table = Table(title="medians; the spread is of the rounds' ratios", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "what" else "right")
    for figure in ordered(results):
        table.add_row(*row(figure))
    console.print(table)


def ordered(results: Results) -> list[Figure]:
    """The figures in the order of the table."""
    return sorted(
        results.figures.values(), key=lambda figure: ORDER.index(figure.name) if figure.name in ORDER else len(ORDER)
    )


def row(figure: Figure) -> tuple[str, ...]:
    """The figure as it stands in a table."""
    other = "" if figure.against == "recipe" or not figure.recipe else f" ({figure.against})"
    ratio, spread = figure.ratio, figure.spread
    cpu_ours, cpu_recipe = figure.cpu_total("ours"), figure.cpu_total("recipe")
    return (
        figure.title,
        number(median(figure.ours)) + f" {figure.unit}" if figure.ours else "–",
        number(median(figure.recipe)) + f" {figure.unit}{other}" if figure.recipe else "–",
        "–" if ratio is None else f"{ratio:.2f} ×",
        "–" if spread is None else f"{spread[0]:.2f}–{spread[1]:.2f}",
        figure.goal,
        "–" if cpu_ours is None else number(cpu_ours),
        "–" if cpu_recipe is None else number(cpu_recipe),
        "–" if cpu_ours is None or cpu_recipe is None else f"1/{cpu_recipe / cpu_ours:.1f}",
    )


def number(value: float) -> str:
    """With as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def last_line(results: Results) -> str:
    """``bench: deliver_ratio=… …``; n/a for what was not measured."""
    parts = []
    for name in LAST_LINE:
        figure = results.figures.get(name)
        ratio = figure.ratio if figure is not None else None
        parts.append(f"{name}_ratio={'n/a' if ratio is None else f'{ratio:.2f}'}")
    latency = results.figures.get(LATENCY)
    parts.append(f"latency_p95_ms={f'{median(latency.ours):.2f}' if latency is not None and latency.ours else 'n/a'}")
    return "bench: " + " ".join(parts)
