"""The embedded run's children, however it is ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from config.embedded.processes import Child, Program


@pytest.fixture
def alarm() -> Iterator[None]:
    """SIGALRM is Ctrl-C, which comes when it comes."""

    def interrupt(number: int, frame: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def interrupted(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = {
        signal.SIGALRM: signal.signal(signal.SIGALRM, interrupt),
        signal.SIGINT: signal.signal(signal.SIGINT, interrupted),
    }
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _children() -> set[int]:
    return {int(pid) for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()}


def _start(child: Child, *, interrupted_after: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, interrupted_after)
    child.start(os.environ)
    child.wait()


@pytest.mark.usefixtures("alarm")
def test_an_end_amid_a_childs_start_leaves_no_child(tmp_path: Path) -> None:
    before = _children()
    for tenths in range(1, 80):
        child = Child(Program("sleep", ("sleep", "60"), 0), tmp_path / "log")
        with pytest.raises(KeyboardInterrupt):
            _start(child, interrupted_after=tenths / 10_000)
        child.kill()

        assert _children() == before, f"after {tenths / 10} ms"
