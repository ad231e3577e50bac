"""claim and give_back: pending, failed → running, and back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from notifier import clock, lifecycle, partner_flow
from notifier.lifecycle import Claim
from notifier.models import NotificationAttempt, NotificationTask, Partner, Status
from tests.support.factories import is_mysql, make_partner, make_task

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)


def _claim(partner: Partner, share: int = 10, **fields: Any) -> list[Claim]:
    return lifecycle.claim({partner.pk: share}, now=fields.get("now") or clock.read(), lease_for=LEASE)


def test_a_claim_leases_the_task_and_counts_the_attempt() -> None:
    task = make_task(body=b"\x00\xff", headers={"X-A": "b"})
    now = clock.read()

    (claim,) = _claim(task.partner, now=now)

    task.refresh_from_db()
    assert (task.status, task.attempt_count, task.next_attempt_at) == (Status.RUNNING, 1, None)
    assert (task.lease_token, task.lease_expires_at) == (claim.lease_token, now + LEASE)
    assert (claim.id, claim.task_id, claim.attempt_count, claim.attempts_used) == (task.pk, str(task.task_id), 1, 1)
    assert (claim.body, claim.headers, claim.target_url) == (b"\x00\xff", {"X-A": "b"}, task.target_url)


def test_what_is_claimed_is_not_claimed_again() -> None:
    task = make_task()

    first, second = _claim(task.partner), _claim(task.partner)

    assert [len(first), len(second)] == [1, 0]


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (Status.RUNNING, {}),
        (Status.SUCCEEDED, {}),
        (Status.DEAD, {}),
        (Status.PENDING, {"due_in": 60}),
        (Status.FAILED, {"due_in": 60}),
        (Status.PENDING, {"expires_in": -1}),
    ],
)
def test_only_what_is_due_and_has_time_is_claimed(status: Status, fields: dict[str, int]) -> None:
    now = clock.read()
    times: dict[str, Any] = {}
    if "due_in" in fields:
        times["next_attempt_at"] = now + timedelta(seconds=fields["due_in"])
    if "expires_in" in fields:
        times["expires_at"] = now + timedelta(seconds=fields["expires_in"])
    task = make_task(status=status, created_at=now, **times)

    assert _claim(task.partner, now=now) == []
    task.refresh_from_db()
    assert task.status == status


def test_higher_priority_goes_first_and_then_what_is_due_longest() -> None:
    partner, now = make_partner(), clock.read()
    ranks_and_ages = [(4, 1), (4, 30), (0, 5), (9, 90), (0, 10)]
    tasks = [
        make_task(partner, rank=rank, next_attempt_at=now - timedelta(seconds=age)) for rank, age in ranks_and_ages
    ]

    claims = _claim(partner, 4, now=now)

    assert [claim.id for claim in claims] == [tasks[index].pk for index in (4, 2, 1, 0)]


def test_each_partner_gets_its_own_share_and_none_for_zero() -> None:
    first, second, third = make_partner(), make_partner(), make_partner()
    for partner in (first, second, third):
        for _ in range(3):
            make_task(partner)

    claims = lifecycle.claim({first.pk: 2, second.pk: 5, third.pk: 0}, now=clock.read(), lease_for=LEASE)

    counts = [sum(claim.partner_id == partner.pk for claim in claims) for partner in (first, second, third)]
    assert counts == [2, 3, 0]


def test_no_share_asks_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert lifecycle.claim({}, now=clock.now(), lease_for=LEASE) == []


def test_a_claim_of_many_partners_is_three_queries(django_assert_num_queries: Any) -> None:
    partners = [make_partner() for _ in range(20)]
    for partner in partners:
        make_task(partner)
    now = clock.read()

    with django_assert_num_queries(3):
        claims = lifecycle.claim({partner.pk: 2 for partner in partners}, now=now, lease_for=LEASE)

    assert len(claims) == 20


# ANALYZE commits.
@pytest.mark.django_db(transaction=True)
def test_the_claim_reads_one_index_range_without_a_sort() -> None:
    if not is_mysql():
        pytest.skip("EXPLAIN of MySQL")
    partner, now = make_partner(), clock.read()
    for number in range(300):
        make_task(partner, rank=number % 10)
        make_task(partner, status=Status.SUCCEEDED)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()
        cursor.execute(
            "EXPLAIN SELECT id, partner_id, next_attempt_at < NOW() AS late FROM notifier_notificationtask WHERE partner_id = %s "
            "AND `rank` IN (0,1,2,3,4,5,6,7,8,9) AND next_attempt_at <= %s ORDER BY `rank`, next_attempt_at LIMIT 20",
            [partner.pk, now.replace(tzinfo=None)],
        )
        (row,) = cursor.fetchall()

    assert (row[3], row[5]) == ("range", "task_claim")
    assert row[-1] == "Using where; Using index"


@pytest.mark.django_db(transaction=True)
def test_what_is_in_flight_is_counted_in_the_index_of_leases() -> None:
    """However many of the partner's tasks wait or have ended: those have none."""
    if not is_mysql():
        pytest.skip("EXPLAIN of MySQL")
    partner, now = make_partner(), clock.read()
    for _ in range(150):
        make_task(partner)
        make_task(partner, status=Status.SUCCEEDED)
    make_task(partner, status=Status.RUNNING)
    make_task(make_partner(), status=Status.RUNNING)
    with CaptureQueriesContext(connection) as queries, connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()
        assert lifecycle.in_flight([partner.pk], now=now) == {partner.pk: 1}
        counted = next(query["sql"] for query in queries.captured_queries if "COUNT" in query["sql"])
        cursor.execute(f"EXPLAIN {counted}")
        (plan,) = cursor.fetchall()

    assert (plan[3], plan[5]) == ("range", "task_lease")
    assert "Using index" in plan[-1]


def test_nobody_without_a_limit_is_counted(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert lifecycle.in_flight([], now=clock.now()) == {}


@pytest.mark.parametrize(
    ("status", "attempts", "requeued_at"),
    [(Status.PENDING, 0, 0), (Status.PENDING, 3, 3), (Status.FAILED, 1, 0), (Status.FAILED, 4, 3)],
)
def test_a_claim_leaves_the_indexes_of_the_lists_as_they_are(status: Status, attempts: int, requeued_at: int) -> None:
    task = make_task(status=status, attempt_count=attempts, attempts_before_requeue=requeued_at)
    rests = [NotificationTask.objects.values_list("status", "status_at_rest").get()]

    _claim(task.partner)

    rests.append(NotificationTask.objects.values_list("status", "status_at_rest").get())
    assert rests == [(status, status), (Status.RUNNING, status)]


def test_a_given_back_claim_is_as_before() -> None:
    task = make_task()
    before = clock.read()
    claims = _claim(task.partner)

    assert lifecycle.give_back(claims, now=before) == 1

    task.refresh_from_db()
    assert (task.status, task.attempt_count, task.next_attempt_at) == (Status.PENDING, 0, before)
    assert (task.lease_token, task.lease_expires_at) == (None, None)
    assert NotificationAttempt.objects.count() == 0


@pytest.mark.parametrize(("attempts", "requeued_at", "status"), [(3, 0, Status.FAILED), (3, 3, Status.PENDING)])
def test_a_given_back_claim_of_a_tried_task_waits_as_failed(attempts: int, requeued_at: int, status: Status) -> None:
    task = make_task(status=status, attempt_count=attempts, attempts_before_requeue=requeued_at)
    claims = _claim(task.partner)

    assert lifecycle.give_back(claims, now=clock.read()) == 1

    task.refresh_from_db()
    assert (task.status, task.attempt_count) == (status, attempts)


def test_a_claim_that_lost_its_lease_is_not_given_back() -> None:
    task = make_task()
    claims = _claim(task.partner)
    lifecycle.cancel(task, now=clock.read())

    assert lifecycle.give_back(claims, now=clock.read()) == 0
    task.refresh_from_db()
    assert (task.status, task.attempt_count) == (Status.DEAD, 1)


def test_a_claim_does_not_show_the_request() -> None:
    task = make_task(body=b"secret", headers={"X-A": "secret"}, target_url="https://hooks.example.com/secret")
    (claim,) = _claim(task.partner)

    assert repr(claim) == f"Claim({task.task_id}, attempt 1)"


def test_partners_of_this_transaction_are_locked() -> None:
    partner = make_partner()

    with transaction.atomic():
        assert set(partner_flow.lock([partner.pk, 10**9])[0]) == {partner.pk}
