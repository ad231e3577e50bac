"""Retention: deletes what ended long ago, a batch at a time, so that the tables stay as small as what is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from prometheus_client import Counter

from notifier import clock, lifecycle
from notifier.models.task import Outcome
from notifier.transactions import atomically

# A transaction of a few ten milliseconds: nobody who meets its locks waits for longer.
BATCH = 500
# Between two batches, as a share of the time that the first one took: half of the database's time is left to others.
PAUSE_SHARE = 1.0

pruned_total = Counter(
    "notifier_pruned", "Ended notifications that this process deleted, with their attempts", ["outcome"]
)
for _outcome in Outcome:
    pruned_total.labels(_outcome.value)  # a rate needs the zero before the first one


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long after its end a task with this outcome is kept."""

    outcome: Outcome
    keep: timedelta


@dataclass(frozen=True, slots=True)
class Batch:
    """One that was deleted: so many of that outcome, all of which had ended by ``up_to``."""

    outcome: Outcome
    tasks: int
    up_to: datetime


def retentions() -> list[Retention]:
    """By the settings. Cancelled ones have a time of their own: a person gave them up, nobody is going to requeue them."""
    days = {
        Outcome.SUCCEEDED: settings.NOTIFIER_KEEP_SUCCEEDED_DAYS,
        Outcome.CANCELLED: settings.NOTIFIER_KEEP_CANCELLED_DAYS,
    }
    return [
        Retention(outcome, timedelta(days=days.get(outcome, settings.NOTIFIER_KEEP_DEAD_DAYS))) for outcome in Outcome
    ]


def prune(
    *,
    most_seconds: float = float("inf"),
    batch: int = BATCH,
    wait: Callable[[float], object] = threading.Event().wait,
) -> Generator[Batch, None, None]:
    """Delete what has been kept for long enough, oldest first; yields each batch after its commit.

    Every batch is a transaction of its own: killed anywhere, all whole batches are gone and nothing else is. Any number
    may run at once; each skips what another one is about to delete. After ``most_seconds`` no further batch is begun.
    Between two batches it waits for as long as the first one took, so that claims and accepts keep their share of the
    database. Costs one index probe an outcome where there is nothing to delete.
    """
    end = time.monotonic() + most_seconds
    now = clock.read()
    for retention in retentions():
        for done in _of(retention, now, batch, end, wait):
            pruned_total.labels(done.outcome).inc(done.tasks)
            yield done


def _of(
    retention: Retention, now: datetime, batch: int, end: float, wait: Callable[[float], object]
) -> Iterator[Batch]:
    up_to: datetime | None = None
    while time.monotonic() < end:
        begun = time.monotonic()
        pruned = _delete(retention, now, up_to, batch)
        if pruned.up_to is None:
            return
        yield Batch(retention.outcome, pruned.tasks, pruned.up_to)
        if pruned.tasks < batch:
            return
        up_to = pruned.up_to
        wait((time.monotonic() - begun) * PAUSE_SHARE)


def _delete(retention: Retention, now: datetime, ended_from: datetime | None, limit: int) -> lifecycle.Pruned:
    return atomically(
        lambda: lifecycle.prune(
            retention.outcome, ended_before=now - retention.keep, ended_from=ended_from, limit=limit
        )
    )
