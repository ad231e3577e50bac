"""Bulk requeues: counted before, begun, taken further by every sweep, stopped by a person; the audit trail has all of it.

Its row is all the state: whichever process sweeps goes on with it, at its rate, from where the last commit left it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet

from notifier import audit, clock, lifecycle, selectors
from notifier.audit import Actor
from notifier.models import BulkRequeue, NotificationTask, Status
from notifier.models.task import has_status
from notifier.selectors import TaskFilter
from notifier.transactions import atomically

logger = logging.getLogger(__name__)

# The most that is counted, and the most that one step takes: a step is one transaction.
COUNT_BOUND = 100_000
BATCH = 200
# Of one bulk requeue in one sweep, where it has no rate; what is left is the next sweep's.
MOST_BATCHES = 5
MAX_PER_SECOND = BATCH * MOST_BATCHES
# A sweep that comes late makes up for this much and no more, so that a pause does not end in a burst.
LONGEST_STEP = timedelta(seconds=5)
_TIMES = ("created_after", "created_before")


class NothingWanted(ValueError):
    """A bulk requeue without a filter would be everything there is."""


@dataclass(frozen=True, slots=True)
class Step:
    """How many tasks were requeued, and whose partners have work by that."""

    requeued: int
    partner_ids: frozenset[str]


def matching(wanted: TaskFilter, *, partners: Collection[str] = ()) -> QuerySet[NotificationTask]:
    """The dead tasks that match; only those of ``partners``, where there are some."""
    tasks = NotificationTask.objects.filter(has_status(Status.DEAD))
    if partners:
        tasks = tasks.filter(partner__partner_id__in=list(partners))
    return selectors.narrowed(tasks, replace(wanted, status=None))


def count(wanted: TaskFilter, *, partners: Collection[str] = ()) -> int:
    """How many match, counted up to ``COUNT_BOUND``."""
    return matching(wanted, partners=partners).order_by()[:COUNT_BOUND].count()


def begin(wanted: TaskFilter, *, per_second: int | None, by: Actor, partners: Collection[str] = ()) -> BulkRequeue:
    """Write it down; from the commit on the sweeps work at it. Raises ``NothingWanted``. Requeues nothing itself."""
    if replace(wanted, status=None) == TaskFilter() and wanted.status != Status.DEAD:
        raise NothingWanted
    now = clock.read()

    def write() -> BulkRequeue:
        job = BulkRequeue.objects.create(
            wanted=stored(wanted), partners=sorted(partners), per_second=per_second, matched=count(wanted, partners=partners),
            actor_kind=by.kind, actor=by.name, created_at=now, updated_at=now, paced_until=now,
        )  # fmt: skip
        _audit(
            by,
            "bulk_requeue.begin",
            job,
            after={"filter": job.wanted, "partners": job.partners, "per_second": per_second, "matched": job.matched},
        )
        return job

    return atomically(write)


def stop(job: BulkRequeue, *, by: Actor) -> bool:
    """End it where it stands; False where it had ended. What was requeued stays so."""

    def end() -> bool:
        now = clock.read()
        running = BulkRequeue.objects.filter(pk=job.pk, state=BulkRequeue.State.RUNNING)
        if not running.update(
            state=BulkRequeue.State.STOPPED, note="stopped by a person", ended_at=now, updated_at=now
        ):
            return False
        job.refresh_from_db()
        _audit(by, "bulk_requeue.stop", job, after={"requeued": job.requeued})
        return True

    return atomically(end)


def advance_all() -> Step:
    """Take every running bulk requeue further by what its rate allows; one that cannot go on is stopped, with the reason."""
    requeued, partner_ids = 0, frozenset[str]()
    for key in (
        # Those that waited longest first: a hundred slow ones do not keep others from their turn.
        BulkRequeue.objects.filter(state=BulkRequeue.State.RUNNING)
        .order_by("updated_at")
        .values_list("pk", flat=True)[:100]
    ):
        try:
            step = advance(key)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("bulk requeue %d cannot go on", key)
            _give_up(key, type(error).__name__)
            continue
        requeued, partner_ids = requeued + step.requeued, partner_ids | step.partner_ids
    return Step(requeued, partner_ids)


def advance(key: int, *, at_once: int | None = None) -> Step:
    """Requeue what the time since its last step allows, or ``at_once`` of them, in transactions of at most ``BATCH``.

    Each writes the tasks and how far the bulk requeue came together: after a crash nothing is left out and nothing done twice.
    """
    allowed = at_once
    requeued, partner_ids = 0, frozenset[str]()
    for _ in range(MOST_BATCHES):
        size, step = atomically(functools.partial(_step, key, allowed))
        requeued, partner_ids = requeued + step.requeued, partner_ids | step.partner_ids
        if size < BATCH:
            break
        allowed = None if allowed is None else allowed - size
    return Step(requeued, partner_ids)


def _step(key: int, allowed: int | None) -> tuple[int, Step]:
    """One batch; how many tasks it looked at."""
    nothing = 0, Step(0, frozenset())
    job = BulkRequeue.objects.select_for_update().filter(pk=key, state=BulkRequeue.State.RUNNING).first()
    if job is None:
        return nothing
    now = clock.read()
    size = min(_due(job, now) if allowed is None else allowed, BATCH)
    if size <= 0:
        return nothing
    tasks = matching(wanted_of(job), partners=job.partners).filter(finished_at__lte=job.created_at)
    if job.cursor is not None:
        tasks = tasks.filter(task_id__gt=job.cursor)
    columns = ("pk", "task_id", "partner_id", "partner__partner_id", "partner__max_age_hours")
    rows = list(tasks.order_by("task_id").values_list(*columns)[:size])
    requeued = lifecycle.requeue_many([(pk, hours) for pk, _, _, _, hours in rows], now=now) if rows else 0
    job.requeued += requeued
    job.updated_at = now
    job.paced_until = _paced(job, now, size)
    job.cursor = rows[-1][1] if rows else job.cursor
    if len(rows) < size:
        job.state, job.ended_at = BulkRequeue.State.DONE, now
        by = Actor(kind=job.actor_kind, name=job.actor, origin="")
        _audit(by, "bulk_requeue.done", job, after={"requeued": job.requeued})
    job.save(update_fields=["requeued", "updated_at", "paced_until", "cursor", "state", "ended_at"])
    return len(rows), Step(requeued, frozenset(partner_id for _, _, _, partner_id, _ in rows))


def _due(job: BulkRequeue, now: datetime) -> int:
    """How many its rate allows now; a batch where it has none."""
    if job.per_second is None:
        return BATCH
    return int(job.per_second * min(now - job.paced_until, LONGEST_STEP).total_seconds())


def _paced(job: BulkRequeue, now: datetime, size: int) -> datetime:
    """Up to when the rate is used by so many more: what a batch left of it is for the next."""
    if job.per_second is None:
        return now
    return max(job.paced_until, now - LONGEST_STEP) + timedelta(seconds=size / job.per_second)


def _give_up(key: int, reason: str) -> None:
    now, note = clock.now(), f"it could not go on: {reason}"[:200]

    def end() -> None:
        running = BulkRequeue.objects.filter(pk=key, state=BulkRequeue.State.RUNNING)
        if running.update(state=BulkRequeue.State.STOPPED, note=note, ended_at=now, updated_at=now):
            job = BulkRequeue.objects.get(pk=key)
            by = Actor(kind=job.actor_kind, name=job.actor, origin="")
            _audit(by, "bulk_requeue.stop", job, after={"requeued": job.requeued, "note": note})

    atomically(end)


def stored(wanted: TaskFilter) -> dict[str, Any]:
    """The filter as the row has it."""
    fields: Mapping[str, Any] = {
        "partner_id": wanted.partner_id, "status": wanted.status, "dead_reason": wanted.dead_reason, "error_code": wanted.error_code,
        "created_after": wanted.created_after, "created_before": wanted.created_before, "metadata": dict(wanted.metadata) or None,
    }  # fmt: skip
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value is not None
    }


def wanted_of(job: BulkRequeue) -> TaskFilter:
    """The filter of a bulk requeue, read back."""
    fields: dict[str, Any] = {
        name: datetime.fromisoformat(value) if name in _TIMES else value for name, value in job.wanted.items()
    }
    return TaskFilter(**fields)


def _audit(by: Actor, action: str, job: BulkRequeue, *, after: Mapping[str, Any]) -> None:
    audit.record(by, action, object_kind="bulk_requeue", object_id=job.pk, after=after)
