"""Work beside the test, on a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from django.db import connection

T = TypeVar("T")


class Other(threading.Thread, Generic[T]):
    """Runs ``work`` at once; ``ended`` gives what it returned, or raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__()
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again by ended
            self._error = error
        finally:
            connection.close()

    def ended(self, seconds: float = 60) -> T:
        self.join(seconds)
        if self._error is not None:
            raise self._error
        assert self._result, f"it still runs after {seconds:g} s"
        return self._result[0]


def at_once(count: int, work: Callable[[int], T], *, seconds: float = 60) -> Sequence[T]:
    """What ``work(0)``, ``work(1)``, … return, each on a thread of its own; none begins before all are there."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> T:
        connection.ensure_connection()
        barrier.wait(10)
        return work(number)

    others: list[Other[Any]] = [Other(lambda number=number: begin(number)) for number in range(count)]  # type: ignore[misc]  # mypy cannot infer the default's type
    return [other.ended(seconds) for other in others]
