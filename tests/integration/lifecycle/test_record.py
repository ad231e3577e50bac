"""record and release_expired: what came back, what came late, and what never came."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from notifier import lifecycle
from notifier.lifecycle import Claim, Result
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status
from notifier.models.task import DeadReason
from notifier.policy import retry
from notifier.policy.exchange import Timing
from tests.support.factories import make_partner, make_task

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(seconds=90)


def _claimed(**fields: Any) -> tuple[NotificationTask, Claim]:
    task = make_task(created_at=NOW, **fields)
    (claim,) = lifecycle.claim({task.partner_id: 1}, now=NOW, lease_for=LEASE)
    return task, claim


def _result(claim: Claim, decision: retry.Decision, **fields: Any) -> Result:
    good = isinstance(decision, retry.Succeeded)
    facts: dict[str, Any] = {
        "attempt_status": AttemptStatus.SUCCEEDED if good else AttemptStatus.FAILED,
        "http_status_code": 200 if good else 503,
        "error_code": None if good else "http_503",
        "error_message": None if good else "The partner answered 503.",
        "timing": Timing(dns_ms=1, connect_ms=2, tls_ms=3, ttfb_ms=4, total_ms=10.5),
        "remote_ip": "192.0.2.1",
        "response_headers": [["Server", "x"]],
        "response_body": "ok \U0001f600",
    }
    whose: dict[str, Any] = {"task_key": claim.id, "attempt_no": claim.attempt_count, "lease_token": claim.lease_token}
    return Result(decision=decision, **(whose | facts | fields))


DECISIONS = [
    pytest.param(retry.Succeeded(), (Status.SUCCEEDED, None, None, NOW), id="succeeded"),
    pytest.param(retry.RetryAt(LATER), (Status.FAILED, None, LATER, None), id="retry"),
    pytest.param(
        retry.Dead(retry.DeadReason.EXHAUSTED), (Status.DEAD, DeadReason.EXHAUSTED, None, NOW), id="exhausted"
    ),
    pytest.param(retry.Dead(retry.DeadReason.REJECTED), (Status.DEAD, DeadReason.REJECTED, None, NOW), id="rejected"),
    pytest.param(retry.Dead(retry.DeadReason.BLOCKED), (Status.DEAD, DeadReason.BLOCKED, None, NOW), id="blocked"),
]


@pytest.mark.parametrize(("decision", "expected"), DECISIONS)
def test_a_result_moves_its_task_and_leaves_its_attempt(decision: retry.Decision, expected: tuple[Any, ...]) -> None:
    task, claim = _claimed()
    result = _result(claim, decision)

    assert lifecycle.record([result], now=NOW) == {task.pk}

    task.refresh_from_db()
    assert (task.status, task.dead_reason, task.next_attempt_at, task.finished_at) == expected
    assert (task.lease_token, task.lease_expires_at, task.attempt_count, task.updated_at) == (None, None, 1, NOW)
    assert (task.last_attempt_no, task.last_attempt_status) == (1, result.attempt_status)
    assert (task.last_http_status_code, task.last_error_code) == (result.http_status_code, result.error_code)
    assert (task.last_error_message, task.last_latency_ms, task.last_attempt_at) == (result.error_message, 10.5, NOW)
    attempt = NotificationAttempt.objects.get(task=task)
    assert (attempt.attempt_no, attempt.status, attempt.http_status_code) == (
        1, result.attempt_status, result.http_status_code,
    )  # fmt: skip
    assert (attempt.dns_ms, attempt.connect_ms, attempt.tls_ms, attempt.ttfb_ms, attempt.latency_ms) == (
        1,
        2,
        3,
        4,
        10.5,
    )
    assert (attempt.remote_ip, attempt.response_headers, attempt.response_body) == (
        "192.0.2.1", [["Server", "x"]], "ok \U0001f600",
    )  # fmt: skip
    assert attempt.created_at == NOW


def test_a_batch_of_different_decisions_is_written_at_once(django_assert_num_queries: Any) -> None:
    partner = make_partner()
    for _ in range(30):
        make_task(partner, created_at=NOW)
    claims = lifecycle.claim({partner.pk: 30}, now=NOW, lease_for=LEASE)
    decisions: list[Any] = [param.values[0] for param in DECISIONS]
    results = [_result(claim, decisions[index % 5]) for index, claim in enumerate(claims)]

    # The lock, an update for each status, the attempts.
    with django_assert_num_queries(5):
        moved = lifecycle.record(results, now=NOW)

    assert moved == {claim.id for claim in claims}
    statuses = dict(NotificationTask.objects.values_list("pk", "status"))
    outcomes: list[Any] = [param.values[1] for param in DECISIONS]
    assert [statuses[claim.id] for claim in claims] == [outcomes[index % 5][0] for index in range(30)]
    assert NotificationAttempt.objects.count() == 30


def _written(task: NotificationTask) -> tuple[list[Any], list[Any]]:
    """The row, and its attempts, but for their keys."""
    (row,) = NotificationTask.objects.filter(pk=task.pk).values()
    attempts = NotificationAttempt.objects.filter(task_id=task.pk).values()
    apart = {"id", "task_id", "partner_id", "created_at", "fingerprint"}
    return [
        sorted((name, repr(value)) for name, value in each.items() if name not in apart) for each in (row, *attempts)
    ], list(attempts)


@pytest.mark.parametrize(("decision", "expected"), DECISIONS)
def test_what_is_recorded_without_reading_the_tasks_is_the_same(
    decision: retry.Decision, expected: tuple[Any, ...], django_assert_num_queries: Any
) -> None:
    (slow_task, slow), (quick_task, quick) = _claimed(), _claimed()

    lifecycle.record([_result(slow, decision)], now=NOW)
    with django_assert_num_queries(2):
        lifecycle.record_held([_result(quick, decision)], now=NOW)

    assert _written(quick_task)[0] == _written(slow_task)[0]
    assert len(_written(quick_task)[1]) == 1


def test_what_one_claim_leased_is_recorded_together() -> None:
    partner = make_partner()
    for _ in range(3):
        make_task(partner, created_at=NOW)
    claims = lifecycle.claim({partner.pk: 3}, now=NOW, lease_for=LEASE)

    lifecycle.record_held([_result(claim, retry.Succeeded()) for claim in claims], now=NOW)

    assert [task.status for task in NotificationTask.objects.all()] == [Status.SUCCEEDED] * 3


def test_an_excused_one_does_not_spoil_the_batch() -> None:
    (task, claim), (excused_task, excused) = _claimed(), _claimed()

    lifecycle.record_held(
        [_result(claim, retry.Succeeded()), _result(excused, retry.RetryAt(LATER), excused=True)], now=NOW
    )

    task.refresh_from_db()
    excused_task.refresh_from_db()
    assert (task.status, excused_task.status, excused_task.attempts_excused) == (Status.SUCCEEDED, Status.FAILED, 1)
    assert NotificationAttempt.objects.count() == 2


@pytest.mark.parametrize("spoilt", ["token", "recorded"])
def test_what_needs_the_tasks_read_is_refused_by_the_way_that_does_not(spoilt: str) -> None:
    (good_task, good), (_, bad) = _claimed(), _claimed()
    result = _result(bad, retry.Succeeded())
    if spoilt == "recorded":
        lifecycle.record([result], now=NOW)
    changed = result._replace(lease_token=uuid.uuid4()) if spoilt == "token" else result

    with pytest.raises(lifecycle.LeaseLost), transaction.atomic():
        lifecycle.record_held([_result(good, retry.Succeeded()), changed], now=NOW)

    good_task.refresh_from_db()
    assert good_task.status == Status.RUNNING


def test_nothing_to_record_asks_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert lifecycle.record([], now=NOW) == set()


def test_two_results_of_one_task_do_not_belong_in_one_batch() -> None:
    _, claim = _claimed()
    result = _result(claim, retry.Succeeded())

    with pytest.raises(ValueError, match="two results for one task"):
        lifecycle.record([result, result], now=NOW)
    assert NotificationAttempt.objects.count() == 0


def test_a_result_of_a_pruned_task_is_dropped() -> None:
    task, claim = _claimed()
    task.delete()

    assert lifecycle.record([_result(claim, retry.Succeeded())], now=NOW) == set()
    assert NotificationAttempt.objects.count() == 0


def test_a_long_message_is_cut() -> None:
    task, claim = _claimed()

    lifecycle.record([_result(claim, retry.RetryAt(LATER), error_message="x" * 600)], now=NOW)

    task.refresh_from_db()
    assert task.last_error_message == "x" * 500
    assert NotificationAttempt.objects.get().error_message == "x" * 500


def test_an_attempt_in_flight_of_a_cancelled_task_is_recorded_and_moves_nothing() -> None:
    task, claim = _claimed()
    lifecycle.cancel(task, now=NOW)

    assert lifecycle.record([_result(claim, retry.Succeeded())], now=LATER) == set()

    task.refresh_from_db()
    assert (task.status, task.dead_reason, task.finished_at) == (Status.DEAD, DeadReason.CANCELLED, NOW)
    assert (task.last_attempt_no, task.last_attempt_status) == (1, AttemptStatus.SUCCEEDED)
    assert NotificationAttempt.objects.get().http_status_code == 200


def _lease_lost(**fields: Any) -> tuple[NotificationTask, Claim]:
    """A task whose lease ran out while its worker was still sending."""
    task, claim = _claimed(**fields)
    lifecycle.release_expired(now=NOW + LEASE, limit=10)
    return task, claim


def test_a_late_success_closes_a_task_that_nobody_claimed_since() -> None:
    task, claim = _lease_lost()

    assert lifecycle.record([_result(claim, retry.Succeeded())], now=LATER) == {task.pk}

    task.refresh_from_db()
    assert (task.status, task.next_attempt_at, task.finished_at) == (Status.SUCCEEDED, None, LATER)
    attempt = NotificationAttempt.objects.get()
    assert (attempt.attempt_no, attempt.status, attempt.http_status_code) == (1, AttemptStatus.SUCCEEDED, 200)


def test_a_late_failure_moves_nothing_but_completes_its_attempt() -> None:
    task, claim = _lease_lost()

    assert lifecycle.record([_result(claim, retry.Dead(retry.DeadReason.REJECTED))], now=LATER) == set()

    task.refresh_from_db()
    assert (task.status, task.next_attempt_at) == (Status.FAILED, NOW + LEASE)
    assert (task.last_attempt_no, task.last_error_code) == (1, "http_503")
    attempt = NotificationAttempt.objects.get()
    assert (attempt.status, attempt.error_code) == (AttemptStatus.FAILED, "http_503")


def test_a_late_success_does_not_move_a_task_that_another_worker_has() -> None:
    task, lost = _lease_lost()
    (second,) = lifecycle.claim({task.partner_id: 1}, now=LATER, lease_for=LEASE)

    assert lifecycle.record([_result(lost, retry.Succeeded())], now=LATER) == set()

    task.refresh_from_db()
    assert (task.status, task.lease_token, task.attempt_count) == (Status.RUNNING, second.lease_token, 2)
    assert lifecycle.record([_result(second, retry.RetryAt(LATER))], now=LATER) == {task.pk}
    assert list(NotificationAttempt.objects.order_by("attempt_no").values_list("attempt_no", "status")) == [
        (1, AttemptStatus.SUCCEEDED),
        (2, AttemptStatus.FAILED),
    ]


def test_a_late_result_does_not_hide_a_newer_attempt() -> None:
    task, lost = _lease_lost()
    (second,) = lifecycle.claim({task.partner_id: 1}, now=LATER, lease_for=LEASE)
    lifecycle.record([_result(second, retry.RetryAt(LATER), http_status_code=500)], now=LATER)

    assert lifecycle.record([_result(lost, retry.Succeeded())], now=LATER) == set()

    task.refresh_from_db()
    assert (task.status, task.last_attempt_no, task.last_http_status_code) == (Status.FAILED, 2, 500)


def test_an_expired_lease_is_an_attempt_and_the_task_is_due_at_once() -> None:
    task, _ = _claimed()

    assert lifecycle.release_expired(now=NOW + LEASE, limit=10) == [task.partner_id]

    task.refresh_from_db()
    assert (task.status, task.next_attempt_at, task.attempt_count) == (Status.FAILED, NOW + LEASE, 1)
    assert (task.lease_token, task.last_error_code) == (None, "lease_expired")
    attempt = NotificationAttempt.objects.get()
    assert (attempt.attempt_no, attempt.status, attempt.http_status_code) == (1, AttemptStatus.LEASE_EXPIRED, None)
    assert (attempt.latency_ms, attempt.dns_ms) == (None, None)


@pytest.mark.parametrize(("attempts", "requeued_at", "dead"), [(2, 0, True), (2, 1, False), (5, 3, True)])
def test_an_expired_lease_of_the_last_attempt_is_the_end(attempts: int, requeued_at: int, dead: bool) -> None:
    task, _ = _claimed(
        status=Status.FAILED, attempt_count=attempts, attempts_before_requeue=requeued_at, max_attempts=3
    )

    partners = lifecycle.release_expired(now=NOW + LEASE, limit=10)

    task.refresh_from_db()
    assert (task.status == Status.DEAD, task.dead_reason == DeadReason.EXHAUSTED, partners == []) == (dead, dead, dead)


def test_a_lease_that_holds_is_left_alone() -> None:
    task, claim = _claimed()

    assert lifecycle.release_expired(now=NOW + LEASE - timedelta(microseconds=1), limit=10) == []

    task.refresh_from_db()
    assert (task.status, task.lease_token) == (Status.RUNNING, claim.lease_token)
    assert NotificationAttempt.objects.count() == 0


def test_no_more_leases_are_closed_than_asked_for() -> None:
    partner = make_partner()
    for _ in range(5):
        make_task(partner, created_at=NOW)
    lifecycle.claim({partner.pk: 5}, now=NOW, lease_for=LEASE)

    assert len(lifecycle.release_expired(now=LATER, limit=3)) == 3
    assert NotificationTask.objects.filter(status=Status.RUNNING).count() == 2


def test_a_result_with_a_foreign_lease_moves_nothing() -> None:
    task, claim = _claimed()

    moved = lifecycle.record([_result(claim, retry.Succeeded(), lease_token=uuid.uuid4())], now=NOW)

    task.refresh_from_db()
    assert (moved, task.status) == (set(), Status.RUNNING)
