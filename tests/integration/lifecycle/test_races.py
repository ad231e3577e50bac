"""Two connections at once: who holds a row's lock decides, and the other one sees it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction

from notifier import clock, lifecycle, partner_flow
from notifier.lifecycle import Result
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status
from notifier.policy.retry import Succeeded
from tests.support.factories import is_mysql, make_partner, make_task
from tests.support.locks import somebody_waits_for_a_lock
from tests.support.threads import Other, at_once
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def _several_writers() -> None:
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time: there is nothing to race")


def test_a_lease_that_is_recorded_while_the_sweep_reaches_for_it_is_left_alone() -> None:
    task = make_task()
    now = clock.read()
    (claim,) = lifecycle.claim({task.partner_id: 1}, now=now, lease_for=LEASE)
    result = Result(
        task_key=task.pk, attempt_no=1, lease_token=claim.lease_token, decision=Succeeded(),
        attempt_status=AttemptStatus.SUCCEEDED,
    )  # fmt: skip

    def sweep() -> list[int]:
        with transaction.atomic():
            return lifecycle.release_expired(now=now + LEASE, limit=10)

    with transaction.atomic():
        assert lifecycle.record([result], now=now) == {task.pk}
        other = Other(sweep)
        # InnoDB renews this table only when it was not read for 100 ms.
        wait_until(somebody_waits_for_a_lock, seconds=10, what="the sweep to wait for the row", every=0.2)

    assert other.ended() == []
    task.refresh_from_db()
    assert task.status == Status.SUCCEEDED
    assert [attempt.status for attempt in NotificationAttempt.objects.all()] == [AttemptStatus.SUCCEEDED]


def test_partners_that_another_claim_holds_are_skipped() -> None:
    held, free = make_partner(), make_partner()

    def lock() -> set[int]:
        with transaction.atomic():
            return set(partner_flow.lock([held.pk, free.pk])[0])

    with transaction.atomic():
        assert set(partner_flow.lock([held.pk])[0]) == {held.pk}
        other = Other(lock)
        assert other.ended() == {free.pk}


def test_claims_side_by_side_take_each_task_once() -> None:
    partners = [make_partner() for _ in range(4)]
    for partner in partners:
        for _ in range(50):
            make_task(partner)
    now = clock.read()

    def claim_all(_: int) -> list[int]:
        taken: list[int] = []
        while NotificationTask.objects.filter(next_attempt_at__isnull=False).exists():
            with transaction.atomic():
                flows = partner_flow.lock([partner.pk for partner in partners])[0]
                claims = lifecycle.claim(dict.fromkeys(flows, 3), now=now, lease_for=LEASE)
            taken += [claim.id for claim in claims]
        return taken

    taken = [key for keys in at_once(4, claim_all) for key in keys]
    assert sorted(taken) == sorted(NotificationTask.objects.values_list("pk", flat=True))
    assert set(NotificationTask.objects.values_list("attempt_count", flat=True)) == {1}


def test_a_claim_locks_few_rows_beside_a_large_backlog() -> None:
    partner, other = make_partner(), make_partner()
    for _ in range(400):
        make_task(partner)
    make_task(other)

    with transaction.atomic():
        partner_flow.lock([partner.pk])
        claims = lifecycle.claim({partner.pk: 20}, now=clock.read(), lease_for=LEASE)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT trx_rows_locked FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()"
            )
            (locked,) = cursor.fetchone()

    assert len(claims) == 20
    # The state row, and each task's clustered record and what its update touches.
    assert locked <= 3 * 20 + 2


def test_a_transaction_that_stands_still_is_ended_where_the_database_can() -> None:
    """A worker that is stopped amid a claim must not keep its partners' locks until it goes on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        if "MariaDB" not in cursor.fetchone()[0]:
            pytest.skip("MySQL has no such limit")
        cursor.execute("SELECT @@idle_transaction_timeout")
        assert cursor.fetchone() == (10,)
