"""A row has room for what its delivery writes: InnoDB moves none of its page for it, and MariaDB logs no whole pages."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from notifier import clock, lifecycle
from notifier.lifecycle import NewTask, Result
from notifier.models import AttemptStatus, NotificationTask
from notifier.policy.retry import Succeeded
from notifier.transactions import atomically
from tests.support.factories import make_partner

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 200
BODY = b"x" * 1024


def _redo() -> int:
    """Bytes of redo log that the server has written."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")
        row = cursor.fetchone()
    if row is None:
        pytest.skip("MariaDB's counter")
    return int(row[1])


def _written(work: Callable[[], object]) -> float:
    """Bytes of redo log a task."""
    before = _redo()
    atomically(work)
    return (_redo() - before) / COUNT


def test_a_delivery_logs_its_row_and_not_the_page() -> None:
    if connection.vendor != "mysql":
        pytest.skip("InnoDB's pages")
    partner, now = make_partner(), clock.now()
    lifecycle.accept(
        [
            NewTask(
                task_id=uuid.uuid4(), partner_id=partner.pk, target_url="https://hooks.example.com/in", http_method="POST",
                headers={}, body=BODY, metadata={}, fingerprint="0" * 64, rank=4, next_attempt_at=now, expires_at=None,
                max_attempts=10, created_at=now,
            )
            for _ in range(COUNT)
        ]
    )  # fmt: skip
    claims: list[lifecycle.Claim] = []

    claimed = _written(
        lambda: claims.extend(lifecycle.claim({partner.pk: COUNT}, now=now, lease_for=timedelta(seconds=60)))
    )
    recorded = _written(
        lambda: lifecycle.record_held(
            [
                Result(
                    task_key=claim.id, attempt_no=1, lease_token=claim.lease_token, decision=Succeeded(),
                    attempt_status=AttemptStatus.SUCCEEDED, http_status_code=200,
                )
                for claim in claims
            ],
            now=now,
        )
    )  # fmt: skip

    assert len(claims) == COUNT
    # 1.8 and 1.9 kB, of a row of 1.5; where the page is moved for it, 6.2 kB each.
    assert (claimed < 3_500, recorded < 3_500) == (True, True), (claimed, recorded)
    assert set(NotificationTask.objects.values_list("room", flat=True)) == {""}
