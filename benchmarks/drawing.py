"""The plots of docs/performance.md, drawn from results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.documented import CPU_SPLIT, PLOTS
from benchmarks.figures import Results, median

OURS, RECIPE = "#1f6feb", "#b0582b"
STAGES = {"web": "#6ca0f6", "worker": "#1f6feb", "database": "#8b949e", "broker": "#d29922", "beat": "#3fb950"}


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every plot that the results have figures for; returns their files."""
    drawn = []
    for name, (title, has) in PLOTS.items():
        if has(results):
            figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
            DRAWN[name](results, axes)
            axes.set_title(title, fontsize=11)
            path = folder / f"{name}.png"
            # Without the date and version that matplotlib would write into it: the same figures, the same file.
            figure.savefig(path, dpi=110, metadata={"Software": None})
            drawn.append(path)
            pyplot.close(figure)
    return drawn


def throughput(results: Results, axes: Axes) -> None:
    curve = results.curves["throughput"]
    axes.plot(curve["latency_ms"], curve["ours"], "o-", color=OURS, label="ours, one worker process")
    axes.plot(curve["latency_ms"], curve["recipe"], "o-", color=RECIPE, label="recipe, best pool")
    axes.set(xscale="symlog", yscale="log", xlabel="the partner takes, ms", ylabel="delivered a second")
    axes.set_xticks(curve["latency_ms"], [str(value) for value in curve["latency_ms"]])
    _finish(axes)


def table_size(results: Results, axes: Axes) -> None:
    curve = results.curves["scale"]
    names = {"claim": "claim of 100", "sweep": "sweep", "accept": "accept", "page": "list page", "page_filtered": "list page, filtered"}  # fmt: skip
    for step, label in names.items():
        axes.plot(curve["rows"], curve[step], "o-", label=label)
    axes.set(xscale="log", xlabel="rows in the table", ylabel="ms")
    axes.set_ylim(bottom=0)
    _finish(axes)


def latency(results: Results, axes: Axes) -> None:
    histograms = results.curves["latency"]
    for name, color in (("ours", OURS), ("recipe", RECIPE)):
        bins = histograms[name]
        total = sum(count for _, count in bins)
        label = "ours at 200/s" if name == "ours" else "recipe at 50/s"
        axes.step([at for at, _ in bins], [count / total * 100 for _, count in bins], where="post", color=color, label=label)  # fmt: skip
    axes.set(xscale="log", xlabel="ms from accepted to arrived at the partner", ylabel="% of notifications")
    _finish(axes)


def cpu(results: Results, axes: Axes) -> None:
    bars = [
        (f"{label}\n{side}", results.figures[name].cpu[side])
        for name, label in CPU_SPLIT.items()
        for side in ("ours", "recipe")
        if name in results.figures and side in results.figures[name].cpu
    ]
    bottoms = [0.0] * len(bars)
    for stage, color in STAGES.items():
        heights = [median(used[stage]) if stage in used else 0.0 for _, used in bars]
        axes.bar([name for name, _ in bars], heights, bottom=bottoms, color=color, label=stage)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set(ylabel="CPU ms for each notification")
    axes.tick_params(axis="x", labelsize=8)
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


DRAWN: dict[str, Callable[[Results, Axes], None]] = {
    "performance-throughput": throughput,
    "performance-table-size": table_size,
    "performance-latency": latency,
    "performance-cpu": cpu,
}
