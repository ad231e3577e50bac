"""What is measured: figures with all their rounds, kept as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(slots=True, kw_only=True)
class Figure:
    """One line of the table. ``ours`` and ``recipe`` have a value for each round; ``recipe`` may be empty.

    ``cpu`` is CPU milliseconds for each notification, by side and process. ``goal`` is what the ratio must be, in words;
    ``notes`` are further figures that belong to this one.
    """

    name: str
    title: str
    unit: str
    goal: str = ""
    # What ours is divided by, where that is not the recipe.
    against: str = "recipe"
    ours: list[float] = field(default_factory=list)
    recipe: list[float] = field(default_factory=list)
    cpu: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: dict[str, list[float]] = field(default_factory=dict)

    def add_cpu(self, side: str, seconds: dict[str, float], count: float) -> None:
        for role, used in seconds.items():
            self.cpu.setdefault(side, {}).setdefault(role, []).append(used / max(count, 1) * 1000)

    def note(self, name: str, value: float) -> None:
        self.notes.setdefault(name, []).append(value)

    @property
    def ratio(self) -> float | None:
        """Median of ours to median of the other."""
        if not self.ours or not self.recipe:
            return None
        return statistics.median(self.ours) / statistics.median(self.recipe)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The lowest and the highest ratio of a round."""
        if not self.ours or not self.recipe:
            return None
        ratios = [mine / other for mine, other in zip(self.ours, self.recipe, strict=False)]
        return min(ratios), max(ratios)

    def cpu_total(self, side: str, *, without: Iterable[str] = ("receiver",)) -> float | None:
        """Median CPU milliseconds of all of a side's processes, the database and the broker for one notification."""
        roles = [statistics.median(values) for role, values in self.cpu.get(side, {}).items() if role not in without]
        return sum(roles) if roles else None


@dataclass(slots=True, kw_only=True)
class Results:
    """A run's figures, and on what they were made. ``curves`` are for the plots; ``made`` says when and of which commit."""

    machine: dict[str, Any]
    quick: bool
    figures: dict[str, Figure] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def figure(self, name: str, title: str, unit: str, **more: Any) -> Figure:
        self.figures[name] = Figure(name=name, title=title, unit=unit, **more)
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")  # noqa: TID251 - when this was measured
        self.made[name] = f"{at} {self.machine.get('commit', '')}".strip()
        return self.figures[name]

    def save(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path) -> Results:
    read = json.loads(path.read_text())
    figures = {name: Figure(**figure) for name, figure in read.pop("figures").items()}
    return Results(figures=figures, **read)


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def path_for(results: Results) -> Path:
    """``<date>-<machine>.json``; a quick run's does not take its place."""
    cpu = re.sub(r"[^a-z0-9]+", "-", results.machine["cpu"].lower()).strip("-")
    date = datetime.now(UTC).date().isoformat()  # noqa: TID251 - the day of the measurement
    quick = "-quick" if results.quick else ""
    return RESULTS / f"{date}-{results.machine['cores']}x{cpu}{quick}.json"


def newest() -> Path | None:
    """The newest results that are not a quick run's."""
    found = sorted(path for path in RESULTS.glob("*.json") if not path.stem.endswith("-quick"))
    return found[-1] if found else None


def machine(database_version: str, broker_version: str) -> dict[str, Any]:
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory[1]) / 1024 / 1024) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "database": database_version,
        "broker": broker_version,
        "commit": commit.strip(),
    }
