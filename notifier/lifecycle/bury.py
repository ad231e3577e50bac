"""any unfinished → dead (rejected): rows that the database no longer lets be changed, or that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import InterfaceError, OperationalError, connection, transaction

from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status
from notifier.models.task import UNFINISHED, DeadReason
from notifier.policy import poison
from notifier.policy.exchange import FailureKind

logger = logging.getLogger(__name__)


def bury_unusable(keys: Iterable[int], *, now: datetime) -> int:
    """End those of the tasks that cannot be changed or read, each in a transaction of its own; returns how many.

    Such a row holds what only a hand with SQL can have put there, and would fail every batch that it is in. It is logged
    once, with its id. Where it was running, that attempt is written, so that the history has no hole.
    """
    buried = 0
    for key in keys:
        fault = _fault(key, now)
        if fault is not None:
            with transaction.atomic():
                name = _bury(key, fault, now)
            logger.error("task %s cannot be handled: %s; it is dead (rejected)", name, type(fault).__name__)
            buried += 1
    return buried


def _fault(key: int, now: datetime) -> Exception | None:
    """What keeps the row from being changed and read, if anything does."""
    row = NotificationTask.objects.filter(pk=key, status__in=UNFINISHED)
    try:
        with transaction.atomic():
            row.update(updated_at=now)
            list(row)
    except (OperationalError, InterfaceError):
        raise  # the database's own trouble, not the row's
    except Exception as error:  # noqa: BLE001 - whatever reading or changing it raises is the answer
        return error
    return None


def _bury(key: int, fault: Exception, now: datetime) -> str:
    row = NotificationTask.objects.filter(pk=key)
    message = poison.message(fault)
    for status, attempt_no in row.values_list("status", "attempt_count").select_for_update():
        if status == Status.RUNNING:
            NotificationAttempt.objects.create(
                task_id=key, attempt_no=attempt_no, status=AttemptStatus.FAILED,
                error_code=FailureKind.INTERNAL.value, error_message=message, created_at=now,
            )  # fmt: skip
    with _unchecked():
        row.update(
            status=Status.DEAD,
            dead_reason=DeadReason.REJECTED,
            next_attempt_at=None,
            lease_token=None,
            lease_expires_at=None,
            last_error_code=FailureKind.INTERNAL.value,
            last_error_message=message,
            finished_at=now,
            updated_at=now,
        )
    try:
        return str(row.values_list("task_id", flat=True).get())
    except ValueError:
        return f"in row {key}"


@contextmanager
def _unchecked() -> Iterator[None]:
    """Without CHECK constraints, where the database has a switch for them: they are what refuses the row."""
    if not getattr(connection, "mysql_is_mariadb", False):
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET check_constraint_checks = 0")
        try:
            yield
        finally:
            cursor.execute("SET check_constraint_checks = 1")
