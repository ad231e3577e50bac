"""prune: succeeded, dead → gone."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from notifier import clock, intake, lifecycle, partner_flow
from notifier.lifecycle import Pruned
from notifier.models import AttemptStatus, NotificationAttempt, NotificationLabel, NotificationTask, Partner, Status
from notifier.models.task import DeadReason, Outcome
from notifier.policy import destination
from notifier.policy.retry import Succeeded
from tests.support.factories import URL, is_mysql, make_attempt, make_partner, make_task
from tests.support.locks import locked_rows, somebody_waits_for_a_lock
from tests.support.threads import Other
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
LEASE = timedelta(seconds=60)


def _ended(days_ago: float, partner: Partner | None = None, **fields: Any) -> NotificationTask:
    """One that ended so long ago, with an attempt and a label."""
    at = clock.read() - days_ago * DAY
    defaults: dict[str, Any] = {"status": Status.SUCCEEDED, "finished_at": at, "metadata": {"order": "1"}}
    task = make_task(partner, **(defaults | fields))
    make_attempt(task)
    return task


def _prune(outcome: Outcome = Outcome.SUCCEEDED, *, days: float = 30, limit: int = 100, **how: Any) -> Pruned:
    before = clock.read() - days * DAY
    with transaction.atomic():
        return lifecycle.prune(outcome, ended_before=before, limit=limit, **how)


def _left() -> set[int]:
    return set(NotificationTask.objects.values_list("pk", flat=True))


def test_what_ended_long_ago_is_deleted_with_its_attempts_and_labels() -> None:
    old, young = _ended(31), _ended(29)

    assert _prune() == Pruned(1, old.finished_at)

    assert _left() == {young.pk}
    assert [attempt.task_id for attempt in NotificationAttempt.objects.all()] == [young.pk]
    assert [label.task_id for label in NotificationLabel.objects.all()] == [young.task_id]


def test_only_the_outcome_that_is_asked_for_is_deleted() -> None:
    tasks = {reason: _ended(31, status=Status.DEAD, dead_reason=reason) for reason in DeadReason}
    succeeded = _ended(31)

    assert _prune(Outcome.EXPIRED).tasks == 1
    assert _left() == {succeeded.pk, *(task.pk for reason, task in tasks.items() if reason != DeadReason.EXPIRED)}


def test_what_waits_or_runs_is_kept_whatever_its_age() -> None:
    at = clock.read() - 400 * DAY
    for status in (Status.PENDING, Status.FAILED, Status.RUNNING):
        make_task(status=status, created_at=at, updated_at=at)
    before = _left()

    for outcome in Outcome:
        assert _prune(outcome) == Pruned(0, None)
    assert _left() == before


def test_a_batch_is_bounded_and_takes_the_oldest() -> None:
    youngest, oldest, middle = (_ended(days) for days in (31, 33, 32))

    assert _prune(limit=2) == Pruned(2, middle.finished_at)
    assert _left() == {youngest.pk}
    assert oldest.pk not in _left()


def test_the_next_batch_goes_on_where_the_last_one_ended() -> None:
    earlier, later = _ended(33), _ended(31)
    assert later.finished_at is not None

    assert _prune(ended_from=later.finished_at).tasks == 1
    assert _left() == {earlier.pk}


@pytest.mark.django_db(transaction=True)  # the unique index refuses one
@pytest.mark.usefixtures("woken")
def test_a_pruned_task_frees_its_idempotency_key() -> None:
    partner = make_partner()
    wanted = intake.Notification(partner_id=partner.partner_id, target=destination.target(URL), idempotency_key="k")
    first = intake.accept(wanted, key=None)
    NotificationTask.objects.update(
        status=Status.SUCCEEDED, finished_at=clock.read() - 31 * DAY, next_attempt_at=None, attempt_count=1
    )
    assert intake.accept(wanted, key=None).replay

    _prune()

    again = intake.accept(wanted, key=None)
    assert not again.replay
    assert again.task.task_id != first.task.task_id


def test_a_batch_is_eight_statements_however_many_attempts_it_has(django_assert_num_queries: Any) -> None:
    for _ in range(20):
        make_attempt(_ended(31), 2)
    before = clock.read() - 30 * DAY

    with django_assert_num_queries(8), transaction.atomic():
        lifecycle.prune(Outcome.SUCCEEDED, ended_before=before, limit=100)

    assert NotificationAttempt.objects.count() == 0


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.EXHAUSTED])
@pytest.mark.parametrize("ended_from", [None, datetime.fromisoformat("2026-01-01T00:00:00+00:00")])
def test_a_prune_reads_what_ended_so_and_nothing_else(outcome: Outcome, ended_from: datetime | None) -> None:
    """By the index of ends, oldest first, without a sort; and it locks what it deletes, however much waits."""
    if not is_mysql():
        pytest.skip("EXPLAIN of MySQL")
    partner = make_partner()
    for number in range(100):
        _ended(number / 10, partner)
        _ended(number / 10, partner, status=Status.DEAD, dead_reason=DeadReason.EXHAUSTED)
        make_task(partner)
        make_task(partner)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()
    before = clock.read() - 5 * DAY
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        assert lifecycle.prune(outcome, ended_before=before, limit=10, ended_from=ended_from).tasks == 10
        # Of the task its entry in the index and its row; of its attempt and its label the row.
        assert locked_rows() <= 10 * 4 + 1
    (read,) = (query["sql"] for query in queries.captured_queries if "FOR UPDATE" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {read}")
        (plan,) = cursor.fetchall()

    # A "ref" begins at the oldest one that ended so, as the range does.
    assert plan[3] in ("range", "ref")
    assert plan[5] == "task_end"
    assert "filesort" not in plan[-1]


@pytest.fixture
def row_locks() -> None:
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time: a batch is over in milliseconds")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("row_locks", "woken")
def test_an_open_prune_blocks_no_claim_no_record_and_no_accept() -> None:
    """Even where what is deleted lies amid rows of the same partner, and its labels are the newest there are."""
    partner = make_partner()
    keys = []
    for number in range(40):
        waiting = make_task(partner)
        keys.append(waiting.pk)
        _ended(31 + number, partner)
    begun = clock.read()

    def work() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
        with transaction.atomic():
            partner_flow.lock([partner.pk])
            claims = lifecycle.claim({partner.pk: 100}, now=clock.read(), lease_for=LEASE)
        results = [
            lifecycle.Result(
                task_key=claim.id,
                attempt_no=1,
                lease_token=claim.lease_token,
                decision=Succeeded(),
                attempt_status=AttemptStatus.SUCCEEDED,
            )
            for claim in claims
        ]
        with transaction.atomic():
            moved = lifecycle.record(results, now=clock.read())
        wanted = intake.Notification(
            partner_id=partner.partner_id,
            target=destination.target(URL),
            idempotency_key="new",
            metadata={"order": "1"},
        )
        intake.accept(wanted, key=None)
        return len(claims), len(moved)

    with transaction.atomic():
        assert lifecycle.prune(Outcome.SUCCEEDED, ended_before=begun - 30 * DAY, limit=20).tasks == 20
        assert locked_rows() <= 20 * 4 + 1
        assert Other(work).ended() == (40, 40)

    assert NotificationTask.objects.filter(pk__in=keys, status=Status.SUCCEEDED).count() == 40


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("row_locks")
def test_of_two_prunes_at_once_each_takes_what_the_other_has_not() -> None:
    partner = make_partner()
    for number in range(10):
        _ended(31 + number, partner)

    with transaction.atomic():
        assert lifecycle.prune(Outcome.SUCCEEDED, ended_before=clock.read() - 30 * DAY, limit=4).tasks == 4
        assert Other(lambda: _prune(limit=100)).ended().tasks == 6

    assert _left() == set()
    assert NotificationAttempt.objects.count() == NotificationLabel.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("row_locks")
def test_what_is_being_requeued_is_left_alone() -> None:
    requeued, other = (_ended(91, status=Status.DEAD) for _ in range(2))

    with transaction.atomic():
        assert lifecycle.requeue(requeued, now=clock.read())
        assert Other(lambda: _prune(Outcome.EXHAUSTED)).ended().tasks == 1

    assert _left() == {requeued.pk}
    assert other.pk not in _left()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("row_locks")
def test_a_late_result_of_a_task_that_is_being_pruned_is_dropped() -> None:
    task = _ended(31)
    result = lifecycle.Result(
        task_key=task.pk, attempt_no=2, lease_token=uuid.uuid4(), decision=Succeeded(),
        attempt_status=AttemptStatus.SUCCEEDED,
    )  # fmt: skip

    def record() -> set[int]:
        with transaction.atomic():
            return lifecycle.record([result], now=clock.read())

    with transaction.atomic():
        assert lifecycle.prune(Outcome.SUCCEEDED, ended_before=clock.read() - 30 * DAY, limit=10).tasks == 1
        late = Other(record)
        wait_until(somebody_waits_for_a_lock, seconds=10, what="the late result to wait for the row", every=0.2)

    assert late.ended() == set()
    assert NotificationAttempt.objects.count() == 0
