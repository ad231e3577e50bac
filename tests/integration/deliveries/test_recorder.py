"""The recorder's batches: what came back is written together, and one bad row spoils nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import timedelta

import pytest
from django.db import OperationalError

from deliveries.recorder import Recorder
from deliveries.sending import Sending
from notifier import clock, lifecycle
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Partner, Status
from notifier.models.task import DeadReason
from notifier.policy.exchange import Exchange, FailureKind
from notifier.policy.retry import RetryAt
from tests.support import broken_rows
from tests.support.away import away
from tests.support.factories import is_mysql, make_partner, make_task
from tests.support.stations import OK

pytestmark = pytest.mark.django_db


class Slots:
    """What the recorder tells the claimer."""

    def __init__(self) -> None:
        # How many slots were released by each commit.
        self.released: list[int] = []
        self.seconds: list[float] = []
        self.woken: list[str] = []
        self.later: list[tuple[str, float]] = []

    def _release(self, finished: Collection[tuple[str, float]]) -> None:
        self.released.append(len(finished))
        self.seconds += [seconds for _, seconds in finished]

    def recorder(self) -> Recorder:
        return Recorder(
            release=self._release,
            wake=self.woken.extend,
            wake_later=lambda partner_ids, seconds: self.later.extend((name, seconds) for name in partner_ids),
        )


def _sending(partner: Partner | None = None, **fields: object) -> Sending:
    task = make_task(partner, **fields)  # type: ignore[arg-type]  # fields of the task
    (claim,) = lifecycle.claim({task.partner_id: 1}, now=clock.read(), lease_for=timedelta(seconds=60))
    return Sending(claim, task.partner)


def test_what_came_back_is_written_and_its_slots_are_free_afterwards() -> None:
    slots = Slots()
    recorder = slots.recorder()
    sendings = [_sending() for _ in range(3)]
    for sending in sendings:
        recorder.put(sending, OK)

    assert recorder.work() is True

    assert (slots.released, slots.seconds) == ([3], [0.005] * 3)
    assert set(NotificationTask.objects.values_list("status", flat=True)) == {Status.SUCCEEDED}
    assert NotificationAttempt.objects.count() == 3


def test_a_retry_that_is_due_soon_gets_a_timer() -> None:
    slots = Slots()
    recorder = slots.recorder()
    soon = make_partner(retry_base_seconds=2, retry_jitter="none")
    late = make_partner(retry_base_seconds=60, retry_jitter="none")
    for partner in (soon, late):
        recorder.put(_sending(partner), Exchange(status=503))

    recorder.work()

    assert slots.later == [(soon.partner_id, 2.0)]


def _tried(sending: Sending, error_code: str, times: int) -> Sending:
    """The same row, claimed again after so many failed attempts."""
    for _ in range(times):
        result = lifecycle.Result(
            task_key=sending.claim.id, attempt_no=sending.claim.attempt_count, lease_token=sending.claim.lease_token,
            decision=RetryAt(clock.read()), attempt_status=AttemptStatus.FAILED, error_code=error_code,
        )  # fmt: skip
        lifecycle.record([result], now=clock.read())
        (claim,) = lifecycle.claim(
            {sending.partner.pk: 1}, now=clock.read() + timedelta(seconds=1), lease_for=timedelta(seconds=60)
        )
        sending = Sending(claim, sending.partner)
    return sending


@pytest.mark.parametrize(
    ("before", "times", "expected", "lines"),
    [
        ("internal_error", 0, (Status.FAILED, None), 0),
        ("internal_error", 1, (Status.FAILED, None), 0),
        ("internal_error", 2, (Status.DEAD, DeadReason.REJECTED), 1),
        # The partner's failures are not the notifier's.
        ("http_503", 5, (Status.FAILED, None), 0),
    ],
)
def test_a_row_that_cannot_be_handled_is_tried_thrice_logged_once_and_spoils_nothing(
    before: str, times: int, expected: tuple[str, str | None], lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    slots = Slots()
    recorder = slots.recorder()
    bad, good = _tried(_sending(), before, times), _sending()
    recorder.put(bad, ValueError("a secret value"))
    recorder.put(good, OK)

    with caplog.at_level(logging.ERROR, "deliveries.recorder"):
        recorder.work()

    task = NotificationTask.objects.get(pk=bad.claim.id)
    assert (task.status, task.dead_reason) == expected
    assert (task.last_error_code, task.last_error_message) == (
        "internal_error", "The notifier could not handle this task: ValueError.",
    )  # fmt: skip
    assert NotificationTask.objects.get(pk=good.claim.id).status == Status.SUCCEEDED
    line = f"task {bad.claim.task_id} cannot be handled: ValueError"
    assert [record.message for record in caplog.records] == [line] * lines
    assert slots.released == [2]


def test_a_row_that_cannot_be_handled_ends_with_its_last_attempt() -> None:
    recorder = Slots().recorder()
    bad = _sending(max_attempts=1)
    recorder.put(bad, ValueError())

    recorder.work()

    assert NotificationTask.objects.get(pk=bad.claim.id).dead_reason == DeadReason.REJECTED


def test_what_was_not_sent_because_of_us_costs_the_task_nothing() -> None:
    recorder = Slots().recorder()
    sending = _sending(max_attempts=1)
    recorder.put(sending, Exchange(failure=FailureKind.HELD_UP, maybe_sent=False))

    recorder.work()

    task = NotificationTask.objects.get(pk=sending.claim.id)
    assert (task.status, task.last_error_code, task.attempts_used) == (Status.FAILED, "held_up", 0)
    assert task.next_attempt_at is not None
    assert task.next_attempt_at <= clock.read()


def test_bad_policy_data_poisons_its_own_row_only() -> None:
    slots = Slots()
    recorder = slots.recorder()
    broken = make_partner(retry_schedule=["soon"])
    bad, good = _sending(broken), _sending()
    recorder.put(bad, Exchange(status=500))
    recorder.put(good, OK)

    recorder.work()

    assert NotificationTask.objects.get(pk=bad.claim.id).last_error_code == FailureKind.INTERNAL
    assert NotificationTask.objects.get(pk=good.claim.id).status == Status.SUCCEEDED


def test_the_same_task_twice_is_written_in_two_batches() -> None:
    """Its lease ran out and this process claimed it again: both results are here at once."""
    slots = Slots()
    recorder = slots.recorder()
    first = _sending()
    lifecycle.release_expired(now=clock.read() + timedelta(seconds=61), limit=1)
    (claim,) = lifecycle.claim(
        {first.partner.pk: 1}, now=clock.read() + timedelta(seconds=62), lease_for=timedelta(seconds=60)
    )
    recorder.put(first, Exchange(status=503))
    recorder.put(Sending(claim, first.partner), OK)

    recorder.work()
    recorder.work()

    assert slots.released == [1, 1]
    assert NotificationTask.objects.get().status == Status.SUCCEEDED
    assert list(NotificationAttempt.objects.order_by("attempt_no").values_list("attempt_no", "http_status_code")) == [
        (1, 503),
        (2, 200),
    ]


def test_a_stopped_recorder_writes_what_is_left_and_ends() -> None:
    slots = Slots()
    recorder = slots.recorder()
    recorder.put(_sending(), OK)

    recorder.stop()

    assert [recorder.work(), recorder.work()] == [True, False]
    assert NotificationTask.objects.get().status == Status.SUCCEEDED


@pytest.mark.django_db(transaction=True)
def test_what_came_back_while_the_database_is_away_is_written_when_it_is_back() -> None:
    slots = Slots()
    recorder = slots.recorder()
    recorder.put(_sending(), OK)
    with away(NotificationAttempt):
        for _ in range(2):
            with pytest.raises(OperationalError):
                recorder.work()
    assert (slots.released, NotificationTask.objects.get().status) == ([], Status.RUNNING)

    recorder.put(_sending(), OK)
    recorder.work()
    recorder.work()

    assert slots.released == [1, 1]
    assert set(NotificationTask.objects.values_list("status", flat=True)) == {Status.SUCCEEDED}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(Exchange(status=-1), id="by the database"),
        pytest.param(Exchange(status=200, remote_ip="\ud800"), id="by its client library"),
    ],
)
def test_a_result_that_cannot_be_stored_poisons_its_own_row_only(refused: Exchange) -> None:
    slots = Slots()
    recorder = slots.recorder()
    bad, good = _sending(), _sending()
    recorder.put(bad, refused)
    recorder.put(good, OK)

    recorder.work()

    assert NotificationTask.objects.get(pk=bad.claim.id).last_error_code == FailureKind.INTERNAL
    assert NotificationTask.objects.get(pk=good.claim.id).status == Status.SUCCEEDED
    assert slots.released == [2]


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_to_change_ends_and_spoils_nothing() -> None:
    if not is_mysql():
        pytest.skip("SQLite checks only the columns that change")
    slots = Slots()
    recorder = slots.recorder()
    bad, good = _sending(), _sending()
    broken_rows.write(NotificationTask.objects.get(pk=bad.claim.id), "headers", "{")
    recorder.put(bad, OK)
    recorder.put(good, OK)

    recorder.work()

    ended = NotificationTask.objects.values_list("status", "dead_reason")
    assert ended.get(pk=bad.claim.id) == (Status.DEAD, DeadReason.REJECTED)
    assert ended.get(pk=good.claim.id) == (Status.SUCCEEDED, None)
    assert slots.released == [2]
