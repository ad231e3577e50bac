"""Inserting new tasks, each idempotency key once, whoever else inserts at the same instant."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Q

from notifier import lifecycle
from notifier.lifecycle import NewTask
from notifier.models import NotificationTask, Status
from notifier.transactions import TRIES, back_off, conflicted, reconnecting

# A partner's key, and an idempotency key under it.
Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """A task as it stands in the database now."""

    task_id: uuid.UUID
    status: str
    fingerprint: str
    created_at: datetime
    next_attempt_at: datetime | None


def insert(tasks: Sequence[NewTask]) -> list[Stored | None]:
    """Insert the tasks; those whose idempotency key is taken, by an earlier one of them too, get the task that has it.

    All that are inserted are committed together, but for keys that others write at the same instant. None for a task whose
    key was written by others again and again, and is free all the same. Raises what the database raises; nothing is
    stored then, or all of it where the connection was lost amid the commit.
    """
    if not tasks:
        return []
    first: dict[Key, NewTask] = {}
    for task in tasks:
        if (key := _key(task)) is not None:
            first.setdefault(key, task)
    held = _insert_free([task for task in tasks if (key := _key(task)) is None or first[key] is task])
    return [_stored(task) if (key := _key(task)) is None else held.get(key) for task in tasks]


def holders(keys: Iterable[Key]) -> dict[Key, Stored]:
    """The tasks that have these keys."""
    by_partner: dict[int, list[str]] = {}
    for partner_id, key in keys:
        by_partner.setdefault(partner_id, []).append(key)
    if not by_partner:
        return {}
    held = reduce(or_, (Q(partner_id=partner, idempotency_key__in=wanted) for partner, wanted in by_partner.items()))
    columns = ("partner_id", "idempotency_key", "task_id", "status", "fingerprint", "created_at", "next_attempt_at")
    rows = NotificationTask.objects.filter(held).values_list(*columns)
    return {(partner_id, key): Stored(*row) for partner_id, key, *row in rows if key is not None}


def _insert_free(tasks: list[NewTask]) -> dict[Key, Stored]:
    """Insert those whose key is free; who has each key then. Two at the same instant: the unique index lets one in."""
    held: dict[Key, Stored] = {}
    for tries_left in reversed(range(TRIES)):
        try:
            _write(tasks)
        except IntegrityError:
            if all(task.idempotency_key is None for task in tasks):
                raise
        except OperationalError as error:
            # A duplicate key whose owner rolls back shows as a deadlock to one of those who waited for it.
            if connection.in_atomic_block or not conflicted(error) or not tries_left:
                raise
            back_off()
        else:
            return held | {key: _stored(task) for task in tasks if (key := _key(task)) is not None}
        held |= holders(key for task in tasks if (key := _key(task)) is not None)
        # In one order for all who compete, so that they wait for one another in that order.
        tasks = sorted((task for task in tasks if _key(task) not in held), key=lambda task: _key(task) or (0, ""))
        if not tasks:
            return held
    # Whoever held the others' keys rolled back each time.
    free = [task for task in tasks if task.idempotency_key is None]
    if free:
        _write(free)
    return held


def _write(tasks: Sequence[NewTask]) -> None:
    begun = 0

    def work() -> None:
        nonlocal begun
        begun += 1
        if lifecycle.needs_transaction(tasks):
            with transaction.atomic():
                lifecycle.accept(tasks)
        else:
            lifecycle.accept(tasks)

    try:
        reconnecting(work)
    except IntegrityError:
        # After a lost connection: it was committed the first time, and only the answer did not come.
        if begun == 1 or not NotificationTask.objects.filter(task_id=tasks[0].task_id).exists():
            raise


def _key(task: NewTask) -> Key | None:
    return None if task.idempotency_key is None else (task.partner_id, task.idempotency_key)


def _stored(task: NewTask) -> Stored:
    return Stored(task.task_id, Status.PENDING.value, task.fingerprint, task.created_at, task.next_attempt_at)
