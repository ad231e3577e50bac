"""What is compared: what producers were promised, what partners saw, what was done to the system, what its tables say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One notification as its producer knows it. ``task_id`` is None where no post of it was ever answered 202 (or 200)."""

    serial: int
    partner: str
    key: str | None
    method: str
    path: str
    sha: str  # of the body's exact bytes
    task_id: str | None
    posted_at: float
    ended_at: float  # accepted, or given up
    lost: int = 0  # posts without an answer
    unavailable: int = 0  # posts answered 503
    odd: tuple[str, ...] = ()  # answers that no fault excuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the receiver saw it. ``ended`` is when it was answered, or its connection came to an end."""

    id: str
    attempt: int
    partner: str
    method: str
    path: str
    sha: str
    arrived: float
    ended: float
    answer: str  # a status, or: reset, broken off, closed (by the sender, before it had an answer)
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that the harness did, from when to when: a killed process's fault ends when it has been started again."""

    kind: str
    target: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    number: int
    status: str
    error_code: str | None
    at: float  # when it was written as ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A row of the system, with its attempts in their order."""

    id: str
    partner: str
    path: str
    status: str
    dead_reason: str | None
    attempt_count: int
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a partner's configuration promises its receiver."""

    partner: str
    rate_per_second: float | None = None
    burst: int | None = None
    max_concurrency: int | None = None


Row = Post | Request | Fault | Task
T = TypeVar("T", Post, Request)


class Ledger:
    """A file of JSON lines that is only ever appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("a")

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(asdict(row)) + "\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def write(path: Path, rows: Iterable[Row]) -> None:
    ledger = Ledger(path)
    for row in rows:
        ledger.write(row)
    ledger.close()


def read(path: Path, kind: type[T]) -> Iterator[T]:
    with path.open() as file:
        for line in file:
            yield kind(**json.loads(line))
