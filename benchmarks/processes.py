"""Processes of a benchmark: their CPU time, and stopping them for a while."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used, ended children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its descendants."""
    return sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in tree(pid)) * PAGE_MB


def tree_cpu_seconds(pid: int) -> float:
    total = 0.0
    for one in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += cpu_seconds(one)
    return total


def send_signal(processes: Iterable[subprocess.Popen[bytes]], sign: signal.Signals) -> None:
    """To each process and its children: each was started in a group of its own."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, sign)


class Meter:
    """CPU seconds by role, from its making to ``read``."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {role: tree_cpu_seconds(pid) for role, pid in self._pids.items()}

    def read(self) -> dict[str, float]:
        return {role: tree_cpu_seconds(pid) - self._before[role] for role, pid in self._pids.items()}
