"""expire, cancel and requeue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifier import lifecycle
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status
from notifier.models.task import DeadReason
from tests.support.factories import make_partner, make_task

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_a_waiting_task_past_its_time_is_dead(status: Status) -> None:
    task = make_task(status=status, created_at=NOW - SECOND, expires_at=NOW, next_attempt_at=NOW + SECOND)

    assert lifecycle.expire(now=NOW, limit=10) == 1

    task.refresh_from_db()
    assert (task.status, task.dead_reason, task.next_attempt_at) == (Status.DEAD, DeadReason.EXPIRED, None)
    assert (task.finished_at, task.updated_at) == (NOW, NOW)


@pytest.mark.parametrize(
    ("status", "expires_in"),
    [(Status.RUNNING, -1), (Status.SUCCEEDED, -1), (Status.DEAD, -1), (Status.PENDING, 1), (Status.PENDING, None)],
)
def test_nothing_else_expires(status: Status, expires_in: int | None) -> None:
    expires_at = None if expires_in is None else NOW + timedelta(seconds=expires_in)
    task = make_task(status=status, created_at=NOW, expires_at=expires_at)

    assert lifecycle.expire(now=NOW, limit=10) == 0

    task.refresh_from_db()
    assert (task.status, task.dead_reason != DeadReason.EXPIRED) == (status, True)


def test_no_more_expire_than_asked_for() -> None:
    partner = make_partner()
    for _ in range(5):
        make_task(partner, created_at=NOW - SECOND, expires_at=NOW)

    assert [lifecycle.expire(now=NOW, limit=3), lifecycle.expire(now=NOW, limit=3)] == [3, 2]


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED, Status.RUNNING])
def test_an_unfinished_task_can_be_cancelled(status: Status) -> None:
    task = make_task(status=status, created_at=NOW)

    assert lifecycle.cancel(task, now=NOW) is True

    task.refresh_from_db()
    assert (task.status, task.dead_reason, task.finished_at) == (Status.DEAD, DeadReason.CANCELLED, NOW)
    assert (task.next_attempt_at, task.lease_token, task.lease_expires_at) == (None, None, None)


def test_the_attempt_in_flight_of_a_cancelled_task_is_on_record_though_its_worker_is_lost() -> None:
    """Its lease is gone, so no sweep will find it: without this its number would be a hole in the history."""
    task = make_task(status=Status.RUNNING, attempt_count=3, created_at=NOW)

    assert lifecycle.cancel(task, now=NOW) is True

    attempt = NotificationAttempt.objects.get()
    assert (attempt.attempt_no, attempt.status, attempt.error_code) == (3, AttemptStatus.LEASE_EXPIRED, "lease_expired")
    assert (
        attempt.error_message
        == "The task was cancelled while this attempt was in flight, and how it ended is not known."
    )
    task.refresh_from_db()
    assert (task.last_attempt_no, task.last_attempt_status) == (3, AttemptStatus.LEASE_EXPIRED)


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_cancelling_what_waits_writes_no_attempt(status: Status) -> None:
    lifecycle.cancel(make_task(status=status, created_at=NOW), now=NOW)

    assert NotificationAttempt.objects.count() == 0


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.DEAD])
def test_a_finished_task_cannot_be_cancelled(status: Status) -> None:
    task = make_task(status=status, created_at=NOW)
    before = NotificationTask.objects.values().get(pk=task.pk)

    assert lifecycle.cancel(task, now=NOW + SECOND) is False
    assert NotificationTask.objects.values().get(pk=task.pk) == before


@pytest.mark.parametrize("status", [Status.FAILED, Status.DEAD])
def test_a_requeued_task_is_due_with_a_fresh_budget(status: Status) -> None:
    task = make_task(status=status, created_at=NOW, attempt_count=7)

    assert lifecycle.requeue(task, now=NOW + SECOND) is True

    task.refresh_from_db()
    assert (task.status, task.dead_reason, task.finished_at) == (Status.PENDING, None, None)
    assert (task.next_attempt_at, task.attempt_count, task.attempts_before_requeue) == (NOW + SECOND, 7, 7)
    assert task.expires_at == NOW + timedelta(hours=72)


def test_a_requeued_task_that_had_expired_gets_its_partners_age_again() -> None:
    partner = make_partner(max_age_hours=2)
    task = make_task(
        partner, status=Status.DEAD, dead_reason=DeadReason.EXPIRED, created_at=NOW - SECOND, expires_at=NOW
    )

    assert lifecycle.requeue(task, now=NOW) is True

    task.refresh_from_db()
    assert task.expires_at == NOW + timedelta(hours=2)


def test_a_task_without_end_keeps_none() -> None:
    task = make_task(status=Status.DEAD, created_at=NOW, expires_at=None)

    assert lifecycle.requeue(task, now=NOW) is True

    task.refresh_from_db()
    assert task.expires_at is None


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.SUCCEEDED])
def test_nothing_else_can_be_requeued(status: Status) -> None:
    task = make_task(status=status, created_at=NOW)
    before = NotificationTask.objects.values().get(pk=task.pk)

    assert lifecycle.requeue(task, now=NOW + SECOND) is False
    assert NotificationTask.objects.values().get(pk=task.pk) == before
