"""Rows that hold what only SQL can have put there: they end, and whoever shares a batch with them does not notice."""

from __future__ import annotations

import logging
import threading

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from notifier import clock, lifecycle
from notifier.models import NotificationAttempt, NotificationTask, Status
from notifier.models.task import DeadReason
from notifier.transactions import LOCK_WAIT_TIMEOUT
from tests.support import broken_rows
from tests.support.factories import is_mysql, make_task

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = ("status", "dead_reason", "attempt_count", "last_error_code", "lease_token", "next_attempt_at")
MESSAGE = "The notifier could not handle this task: {}."


def _broken(**fields: object) -> tuple[NotificationTask, str]:
    """A row that the database refuses to change (MariaDB), or one that cannot be read (SQLite); and what it raises."""
    task = make_task(**fields)  # type: ignore[arg-type]  # fields of the task
    if is_mysql():
        broken_rows.write(task, "headers", '{"X-Name": "no end')
        return task, "IntegrityError"
    broken_rows.write(task, "task_id", "x" * 32)
    return task, "ValueError"


def test_an_unusable_row_ends_and_is_logged_once_and_usable_ones_stay(caplog: pytest.LogCaptureFixture) -> None:
    (bad, error), good = _broken(), make_task()

    with caplog.at_level(logging.ERROR):
        assert lifecycle.bury_unusable([good.pk, bad.pk], now=clock.read()) == 1
        assert lifecycle.bury_unusable([good.pk, bad.pk], now=clock.read()) == 0

    buried = NotificationTask.objects.filter(pk=bad.pk)
    assert buried.values_list(*FIELDS).get() == (Status.DEAD, DeadReason.REJECTED, 0, "internal_error", None, None)
    assert buried.values_list("last_error_message", flat=True).get() == MESSAGE.format(error)
    # It never was an attempt.
    assert not NotificationAttempt.objects.exists()
    assert NotificationTask.objects.get(pk=good.pk).status == Status.PENDING
    name = str(bad.task_id) if is_mysql() else f"in row {bad.pk}"
    assert [record.message for record in caplog.records] == [
        f"task {name} cannot be handled: {error}; it is dead (rejected)"
    ]


def test_a_running_row_leaves_its_attempt() -> None:
    bad, error = _broken(status=Status.RUNNING)

    lifecycle.bury_unusable([bad.pk], now=clock.read())

    assert NotificationTask.objects.filter(pk=bad.pk).values_list(*FIELDS).get() == (
        Status.DEAD, DeadReason.REJECTED, 1, "internal_error", None, None,
    )  # fmt: skip
    (attempt,) = NotificationAttempt.objects.filter(task=bad.pk)
    assert (attempt.attempt_no, attempt.status, attempt.error_message) == (1, "failed", MESSAGE.format(error))


def test_constraints_are_checked_again_afterwards() -> None:
    bad, _ = _broken()
    lifecycle.bury_unusable([bad.pk], now=clock.read())

    with pytest.raises(IntegrityError):
        make_task(status=Status.PENDING, next_attempt_at=None)


def test_a_finished_row_is_left_as_it_is() -> None:
    bad, _ = _broken(status=Status.SUCCEEDED)

    assert lifecycle.bury_unusable([bad.pk], now=clock.read()) == 0
    assert NotificationTask.objects.values_list("status", flat=True).get(pk=bad.pk) == Status.SUCCEEDED


def test_a_row_that_another_has_locked_is_no_fault_of_its_own() -> None:
    if not is_mysql():
        pytest.skip("SQLite has no row locks")
    task = make_task()
    raised: list[Exception] = []

    def bury() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
        try:
            lifecycle.bury_unusable([task.pk], now=clock.read())
        except OperationalError as error:
            raised.append(error)
        finally:
            connection.close()

    with transaction.atomic():
        NotificationTask.objects.select_for_update().get(pk=task.pk)
        other = threading.Thread(target=bury)
        other.start()
        other.join()

    assert [error.args[0] for error in raised] == [LOCK_WAIT_TIMEOUT]
    task.refresh_from_db()
    assert task.status == Status.PENDING
