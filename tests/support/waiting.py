"""Waiting for a condition, never for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, seconds: float, what: str, every: float = 0.02) -> T:
    """Ask again and again until the condition gives something true, which is returned; fail after so many seconds."""
    give_up = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= give_up:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}; last seen: {value!r}")
        threading.Event().wait(every)
