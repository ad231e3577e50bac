"""The database itself refuses rows that no transition makes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction

from notifier.models import NotificationTask, Status
from tests.support.factories import make_partner, make_task

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (Status.PENDING, {"next_attempt_at": None}),
        (Status.PENDING, {"dead_reason": "expired"}),
        (Status.PENDING, {"idempotency_key": ""}),
        (Status.PENDING, {"rank": 10}),
        (Status.PENDING, {"max_attempts": 0}),
        (Status.PENDING, {"max_attempts": 101}),
        (Status.PENDING, {"attempts_before_requeue": 1}),
        (Status.RUNNING, {"lease_token": None}),
        (Status.RUNNING, {"lease_expires_at": None}),
        (Status.SUCCEEDED, {"finished_at": None}),
        (Status.DEAD, {"dead_reason": None}),
    ],
)
def test_an_impossible_task_is_refused(status: Status, fields: dict[str, Any]) -> None:
    # MySQL reports a failed CHECK as an operational error, MariaDB as an integrity error.
    with pytest.raises((IntegrityError, OperationalError)), transaction.atomic():
        make_task(status=status, **fields)
    assert NotificationTask.objects.count() == 0


def test_an_unknown_status_is_refused() -> None:
    task = make_task()

    with pytest.raises((IntegrityError, OperationalError)), transaction.atomic():
        NotificationTask.objects.filter(pk=task.pk).update(status="gone")


def test_keys_that_differ_in_case_or_a_trailing_blank_are_different_keys() -> None:
    partner = make_partner()
    for key in ("Abc", "abc", "abc ", None, None):
        make_task(partner, idempotency_key=key)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_task(partner, idempotency_key="abc")
    assert NotificationTask.objects.count() == 5
