"""The run's child processes: started, watched, started again, and ended together."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from config.embedded.environment import REPOSITORY, Refused
from config.limits import end_with_parent

# A process that dies sooner than this after its start, this often in a row, cannot start.
QUICK_DEATH_SECONDS = 10.0
MAX_QUICK_DEATHS = 3
RESTART_PAUSE_SECONDS = 1.0
# Of the time to stop, what is kept for the last stage.
LAST_STAGE_SECONDS = 3.0
POLL_SECONDS = 0.05
SHOWN_LOG_LINES = 12


@dataclass(frozen=True, slots=True)
class Program:
    """What runs, and when it is asked to stop: stage 0 first, stage 1 once stage 0 has ended."""

    name: str
    command: tuple[str, ...]
    stop_stage: int


# What ends the run.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _spawn(command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that the terminal's Ctrl-C reaches the parent alone; it ends with the parent."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Safe here: the parent has no threads when it starts a child.
            preexec_fn=functools.partial(end_with_parent, os.getpid()),
        )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """What would end the run waits: between a child's start and the note of its number, nobody would end the child."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def fresh_log(logs: Path, name: str) -> Path:
    """Where a process of this run writes; what the last run wrote is kept until the next."""
    log = logs / f"{name}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    return log


def last_lines(log: Path, count: int = SHOWN_LOG_LINES) -> list[str]:
    try:
        text = log.read_bytes()[-16_384:].decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


class Child:
    """A program that should be running."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.quick_deaths = 0
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        self.restart_at = None
        self.started_at = time.monotonic()
        with _uninterrupted():
            self.process = _spawn(self.program.command, environment, self.log)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        return 0 if self.process is None else self.process.wait()

    def ask_to_stop(self) -> None:
        if self.process is not None and self.alive:
            self.process.terminate()

    def kill(self) -> None:
        """End the process and whatever it has started itself; nothing where all of it has ended."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


class Processes:
    """All children of the run. Used by one thread."""

    def __init__(self, environment: Mapping[str, str], logs: Path, say: Callable[[str], None]) -> None:
        self._environment = environment
        self._logs = logs
        self._say = say
        self._children: list[Child] = []

    def start(self, program: Program) -> None:
        child = Child(program, fresh_log(self._logs, program.name))
        self._children.append(child)
        child.start(self._environment)

    def watch(self) -> None:
        """Report who has died and start it again after a pause. Raises ``Refused`` where one cannot stay up."""
        now = time.monotonic()
        for child in self._children:
            if child.restart_at is not None:
                if child.restart_at <= now:
                    child.start(self._environment)
            elif child.process is not None and not child.alive:
                self._died(child, now)

    def _died(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process is not None else 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        child.kill()
        quick = now - child.started_at < QUICK_DEATH_SECONDS
        child.quick_deaths = child.quick_deaths + 1 if quick else 1
        lines = "".join(f"\n    {line}" for line in last_lines(child.log)) or " nothing"
        report = f"{child.program.name} {how}. The end of {child.log} says:{lines}"
        if quick and child.quick_deaths >= MAX_QUICK_DEATHS:
            raise Refused(f"{report}\nIt has not stayed up {MAX_QUICK_DEATHS} times in a row, so the run ends.")
        wait = RESTART_PAUSE_SECONDS * 2 ** (child.quick_deaths - 1)
        child.restart_at = now + wait
        self._say(f"{report}\nIt starts again in {wait:g} s.")

    def stop(self, within_seconds: float) -> None:
        """Ask all to end, stage by stage, and kill what has not ended in time. A further Ctrl-C kills at once."""
        deadline = time.monotonic() + within_seconds
        stages = sorted({child.program.stop_stage for child in self._children})
        try:
            for stage in stages:
                children = [child for child in self._children if child.program.stop_stage == stage]
                self._stop_stage(children, deadline if stage == stages[-1] else deadline - LAST_STAGE_SECONDS)
        finally:
            late = [child.program.name for child in self._children if child.alive]
            for child in self._children:
                child.kill()
            self._children.clear()
            if late:
                self._say(f"Killed, as it did not end in time: {', '.join(late)}.")

    def _stop_stage(self, children: list[Child], deadline: float) -> None:
        for child in children:
            child.ask_to_stop()
        while any(child.alive for child in children) and time.monotonic() < deadline:
            pause(POLL_SECONDS)
