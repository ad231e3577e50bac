"""A part of the harness in a process of its own, operated by lines of JSON: a command in, its answer out.

The part ends when its standard input does, and so never outlives the harness.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.ledger import REPOSITORY

Command = dict[str, Any]


class Operated:
    """The harness's end. Any thread may ask; one at a time is answered."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        self._lock = threading.Lock()
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, process_group=0,
            )  # fmt: skip
        self.name = f"{module} (see {log})"
        self.ask("ready")

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        with self._lock:
            try:
                process.stdin.write(json.dumps({"do": do, **what}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            raise RuntimeError(f"{self.name} ended by itself")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Have it end, and wait until it has."""
        process = self.process
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _commands() -> Command | None:
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def operate(handle: Callable[[Command], dict[str, Any]]) -> None:
    """The part's end: answer commands until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (command := _commands()) is not None:
        _answer({} if command["do"] == "ready" else handle(command))


async def operate_async(handle: Callable[[Command], Awaitable[dict[str, Any]]]) -> None:
    """The same beside an event loop's other work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (command := await asyncio.to_thread(_commands)) is not None:
        _answer({} if command["do"] == "ready" else await handle(command))
