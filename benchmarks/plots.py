"""The plots of docs/performance.md, drawn from results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.figures import Results, median

OURS, RECIPE = "#1f6feb", "#b0582b"
STAGES = {"web": "#6ca0f6", "worker": "#1f6feb", "database": "#8b949e", "broker": "#d29922", "beat": "#3fb950"}
# Whose CPU is shown, and for how many notifications it was measured.
SPLIT = {"deliver": "deliver", "accept": "accept", "batch": "accept, batches", "together": "both", "together_batch": "both, batches"}  # fmt: skip


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every plot that the results have figures for; returns their files."""
    drawn = []
    for name, draw_one in PLOTS.items():
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        if draw_one(results, axes):
            path = folder / f"{name}.png"
            # Without the date and version that matplotlib would write into it: the same figures, the same file.
            figure.savefig(path, dpi=110, metadata={"Software": None})
            drawn.append(path)
        pyplot.close(figure)
    return drawn


def throughput(results: Results, axes: Axes) -> bool:
    curve = results.curves.get("throughput")
    if not curve:
        return False
    axes.plot(curve["latency_ms"], curve["ours"], "o-", color=OURS, label="ours, one worker process")
    axes.plot(curve["latency_ms"], curve["recipe"], "o-", color=RECIPE, label="recipe, best pool")
    axes.set(xscale="symlog", yscale="log", xlabel="the partner takes, ms", ylabel="delivered a second")
    axes.set_xticks(curve["latency_ms"], [str(value) for value in curve["latency_ms"]])
    axes.set_title("Throughput against partner latency")
    _finish(axes)
    return True


def table_size(results: Results, axes: Axes) -> bool:
    curve = results.curves.get("scale")
    if not curve:
        return False
    names = {"claim": "claim of 100", "sweep": "sweep", "accept": "accept", "page": "list page", "page_filtered": "list page, filtered"}  # fmt: skip
    for step, label in names.items():
        axes.plot(curve["rows"], curve[step], "o-", label=label)
    axes.set(xscale="log", xlabel="rows in the table", ylabel="ms", title="Cost against table size")
    axes.set_ylim(bottom=0)
    _finish(axes)
    return True


def latency(results: Results, axes: Axes) -> bool:
    histograms = results.curves.get("latency")
    if not histograms:
        return False
    for name, color in (("ours", OURS), ("recipe", RECIPE)):
        bins = histograms[name]
        total = sum(count for _, count in bins)
        label = "ours at 200/s" if name == "ours" else "recipe at 50/s"
        axes.step([at for at, _ in bins], [count / total * 100 for _, count in bins], where="post", color=color, label=label)  # fmt: skip
    axes.set(xscale="log", xlabel="ms from accepted to arrived at the partner", ylabel="% of notifications")
    axes.set_title("Latency of steady posts on an idle machine")
    _finish(axes)
    return True


def cpu(results: Results, axes: Axes) -> bool:
    bars = [
        (f"{label}\n{side}", results.figures[name].cpu[side])
        for name, label in SPLIT.items()
        for side in ("ours", "recipe")
        if name in results.figures and side in results.figures[name].cpu
    ]
    if not bars:
        return False
    bottoms = [0.0] * len(bars)
    for stage, color in STAGES.items():
        heights = [median(used[stage]) if stage in used else 0.0 for _, used in bars]
        axes.bar([name for name, _ in bars], heights, bottom=bottoms, color=color, label=stage)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set(ylabel="CPU ms for each notification", title="CPU for each notification, by process")
    axes.tick_params(axis="x", labelsize=8)
    _finish(axes)
    return True


def _finish(axes: Axes) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


PLOTS: dict[str, Callable[[Results, Axes], bool]] = {
    "performance-throughput": throughput,
    "performance-table-size": table_size,
    "performance-latency": latency,
    "performance-cpu": cpu,
}
