"""GET /v1/notify/{task_id}/explain: the true reason in each case, from the rows that the claim reads."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from notifier import clock, lifecycle, partner_flow
from notifier.api.renderers import timestamp
from notifier.models import NotificationTask, Partner, PartnerState, Status
from notifier.policy import flow
from notifier.policy.circuit import State
from notifier.transactions import atomically
from tests.support.api import anyone, caller, document, problem
from tests.support.factories import make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db


def _path(task: NotificationTask) -> str:
    return f"/v1/notify/{task.task_id}/explain"


def _explained(task: NotificationTask) -> dict[str, Any]:
    shown: dict[str, Any] = document(caller(scopes=("notify:read",)).get(_path(task)))
    assert list(shown) == ["task_id", "status", "reason", "message", "since", "until", "next_attempts"]
    assert shown["task_id"] == str(task.task_id)
    assert len(shown["next_attempts"]) <= 10
    assert all(list(each) == ["earliest", "latest"] for each in shown["next_attempts"])
    return shown


def _set(partner: Partner, **fields: Any) -> None:
    assert PartnerState.objects.filter(pk=partner.pk).update(**fields) == 1


def _spelled(at: datetime | None) -> str | None:
    return None if at is None else timestamp(at)


def _claimable(partner: Partner) -> int:
    """How many of one the claim would take now: it is asked, and undone."""
    now = clock.read()
    state = PartnerState.objects.get(pk=partner.pk).flow(enabled=partner.enabled)
    in_flight = lifecycle.in_flight([partner.pk], now=now).get(partner.pk, 0)
    permit = flow.permit(state, partner.limits, in_flight=in_flight, slots=1, now=now)
    claims = atomically(lambda: lifecycle.claim({partner.pk: permit.count}, now=now, lease_for=timedelta(minutes=1)))
    lifecycle.give_back(claims, now=now)
    return len(claims)


def test_a_due_task_is_due() -> None:
    task = make_task(max_attempts=3)

    shown = _explained(task)

    assert (shown["status"], shown["reason"]) == ("pending", "due")
    assert (shown["since"], shown["until"]) == (_spelled(task.next_attempt_at), None)
    first, second, third = shown["next_attempts"]
    assert first["earliest"] == first["latest"]
    # The default backoff waits for up to 30 s, then for up to 60 s; with full jitter, perhaps not at all.
    assert second["earliest"] == third["earliest"] == first["earliest"]
    at = datetime.fromisoformat(first["latest"])
    assert [datetime.fromisoformat(each["latest"]) - at for each in (second, third)] == [
        timedelta(seconds=30), timedelta(seconds=90),
    ]  # fmt: skip
    assert _claimable(task.partner) == 1


def test_what_was_posted_for_later_is_scheduled() -> None:
    due_at = clock.read() + timedelta(hours=1)
    task = make_task(next_attempt_at=due_at, deliver_at=due_at)

    shown = _explained(task)

    assert (shown["status"], shown["reason"]) == ("pending", "scheduled")
    assert (shown["since"], shown["until"]) == (_spelled(task.created_at), _spelled(due_at))
    assert shown["next_attempts"][0] == {"earliest": _spelled(due_at), "latest": _spelled(due_at)}


def test_what_failed_waits_for_its_retry() -> None:
    due_at = clock.read() + timedelta(hours=1)
    task = make_task(
        make_partner(retry_schedule=[60.0, 600.0]), status=Status.FAILED, next_attempt_at=due_at, max_attempts=3
    )

    shown = _explained(task)

    assert (shown["status"], shown["reason"]) == ("failed", "backoff")
    assert (shown["since"], shown["until"]) == (_spelled(task.updated_at), _spelled(due_at))
    assert [each["latest"] for each in shown["next_attempts"]] == [
        _spelled(due_at), _spelled(due_at + timedelta(seconds=600)),
    ]  # fmt: skip


@pytest.mark.parametrize("backoff_seconds", [0, 30, 60], ids=["due", "shorter", "the-hold-itself"])
def test_what_waits_for_a_retry_after_is_told_so(backoff_seconds: int) -> None:
    task, now = make_task(status=Status.FAILED), clock.read()
    _set(task.partner, hold_until=now + timedelta(seconds=60), held_at=now)
    NotificationTask.objects.update(next_attempt_at=now + timedelta(seconds=backoff_seconds))

    shown = _explained(task)

    assert shown["reason"] == "retry_after"
    assert (shown["since"], shown["until"]) == (_spelled(now), _spelled(now + timedelta(seconds=60)))
    assert _claimable(task.partner) == 0


def test_what_failed_and_waits_longer_than_the_hold_waits_for_its_retry() -> None:
    now = clock.read()
    task = make_task(status=Status.FAILED, next_attempt_at=now + timedelta(seconds=90))
    _set(task.partner, hold_until=now + timedelta(seconds=60), held_at=now)

    shown = _explained(task)

    assert (shown["reason"], shown["until"]) == ("backoff", _spelled(now + timedelta(seconds=90)))


def test_a_hold_that_is_over_holds_nothing() -> None:
    task, now = make_task(), clock.read()
    _set(task.partner, hold_until=now, held_at=now - timedelta(minutes=1))

    assert _explained(task)["reason"] == "due"
    assert _claimable(task.partner) == 1


def test_a_spent_rate_is_told_with_the_next_token() -> None:
    task = make_task(make_partner(rate_per_second=0.01, burst=1))
    now = clock.read()
    _set(task.partner, tokens=0.0, tokens_at=now)

    shown = _explained(task)

    assert (shown["reason"], shown["since"]) == ("rate_limit", _spelled(task.next_attempt_at))
    assert abs(datetime.fromisoformat(shown["until"]) - (now + timedelta(seconds=100))) < timedelta(milliseconds=1)
    assert _claimable(task.partner) == 0


def test_concurrency_counts_the_leases_that_hold() -> None:
    partner = make_partner(max_concurrency=2)
    task = make_task(partner)
    running = [make_task(partner, status=Status.RUNNING) for _ in range(2)]
    make_task(make_partner(), status=Status.RUNNING)

    shown = _explained(task)

    assert (shown["reason"], shown["until"]) == ("concurrency", None)
    assert _claimable(partner) == 0
    # A lease that ran out is not in flight any more, whether the sweep has been there or not.
    NotificationTask.objects.filter(pk=running[0].pk).update(lease_expires_at=clock.read())
    assert _explained(task)["reason"] == "due"
    assert _claimable(partner) == 1


@pytest.mark.parametrize(
    ("state", "probe_in", "until_in"),
    [
        case(State.OPEN, 60, 60, id="open"),
        case(State.OPEN, None, None, id="by-hand"),
        case(State.HALF_OPEN, 60, 60, id="half-open"),
        case(State.OPEN, -1, None, id="probe-due"),
    ],
)
def test_an_open_circuit_is_told_with_its_next_probe(state: State, probe_in: int | None, until_in: int | None) -> None:
    task, now = make_task(), clock.read()

    def at(seconds: int | None) -> datetime | None:
        return None if seconds is None else now + timedelta(seconds=seconds)

    _set(
        task.partner, circuit_state=state.value, circuit_since=now, circuit_reason="it failed", circuit_probe_at=at(probe_in)
    )  # fmt: skip

    shown = _explained(task)

    assert (shown["reason"], shown["since"], shown["until"]) == ("circuit_open", _spelled(now), _spelled(at(until_in)))
    assert "(it failed)" in shown["message"]
    assert _claimable(task.partner) == (1 if probe_in == -1 else 0)


def test_a_pause_is_told_before_everything_else() -> None:
    now = clock.read()
    task = make_task(make_partner(max_concurrency=1), status=Status.FAILED, next_attempt_at=now + timedelta(days=1))
    _set(task.partner, hold_until=now + timedelta(days=2), held_at=now, circuit_state=State.OPEN.value)
    partner_flow.pause(task.partner.pk, now=now)

    shown = _explained(task)

    assert (shown["reason"], shown["since"], shown["until"]) == ("paused", _spelled(now), None)
    assert "is paused" in shown["message"]


def test_a_disabled_partner_counts_as_paused_and_the_sentence_says_so() -> None:
    task = make_task(make_partner(enabled=False))

    shown = _explained(task)

    assert (shown["reason"], shown["since"], shown["until"]) == ("paused", None, None)
    assert "is disabled" in shown["message"]
    assert _claimable(task.partner) == 0


def test_a_running_task_is_in_flight_since_its_claim() -> None:
    task = make_task(make_partner(retry_schedule=[10.0]), max_attempts=2)
    now = clock.read()
    (claim,) = atomically(lambda: lifecycle.claim({task.partner_id: 1}, now=now, lease_for=timedelta(minutes=1)))

    shown = _explained(task)

    assert (shown["status"], shown["reason"]) == ("running", "in_flight")
    assert (shown["since"], shown["until"]) == (_spelled(now), _spelled(now + timedelta(minutes=1)))
    assert [each["latest"] for each in shown["next_attempts"]] == [_spelled(now + timedelta(seconds=70))]
    assert claim.attempt_count == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(Status.SUCCEEDED, "It has ended: succeeded."), (Status.DEAD, "It has ended: dead (exhausted).")],
)
def test_a_finished_task_is_finished_whatever_its_partner(status: Status, message: str) -> None:
    task = make_task(make_partner(enabled=False), status=status)

    shown = _explained(task)

    assert (shown["status"], shown["reason"], shown["message"]) == (status.value, "finished", message)
    assert (shown["since"], shown["until"]) == (_spelled(task.finished_at), None)
    assert shown["next_attempts"] == []


def test_excused_probes_and_what_was_before_a_requeue_do_not_count() -> None:
    task = make_task(
        make_partner(retry_schedule=[10.0, 20.0, 30.0]), status=Status.FAILED, attempt_count=9, attempts_before_requeue=5,
        attempts_excused=3, max_attempts=4,
    )  # fmt: skip

    times = [datetime.fromisoformat(each["earliest"]) for each in _explained(task)["next_attempts"]]

    # One of four is used: after the second comes 20 s, after the third 30.
    assert [at - times[0] for at in times] == [timedelta(), timedelta(seconds=20), timedelta(seconds=50)]


def test_no_attempt_is_promised_after_expires_at() -> None:
    now = clock.read()
    task = make_task(make_partner(retry_schedule=[3600.0]), expires_at=now + timedelta(hours=2, minutes=1))

    assert len(_explained(task)["next_attempts"]) == 3


def test_a_task_past_its_time_that_no_sweep_has_ended_yet_is_told_so() -> None:
    task = make_task(expires_at=clock.read() - timedelta(seconds=1))

    shown = _explained(task)

    assert "Its time is over" in shown["message"]
    assert shown["next_attempts"] == []
    assert _claimable(task.partner) == 0


@pytest.mark.parametrize(
    ("fields", "queries"), [case({}, 4, id="no-limit"), case({"max_concurrency": 1}, 5, id="concurrency-counts-leases")]
)
def test_what_it_costs(fields: dict[str, Any], queries: int, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    partner = make_partner(**fields)
    task = make_task(partner)
    for _ in range(3):
        make_task(partner, status=Status.RUNNING)
    reader = caller()
    document(reader.get(_path(task)))

    # Key, task with its partner, time, state, and the leases where they matter.
    with django_assert_num_queries(queries):
        document(reader.get(_path(task)))


def test_it_changes_nothing() -> None:
    task = make_task()
    before = list(NotificationTask.objects.values()), list(PartnerState.objects.values())

    _explained(task)

    assert (list(NotificationTask.objects.values()), list(PartnerState.objects.values())) == before


@pytest.mark.parametrize("task_id", ["x", str(uuid.uuid4()), "0" * 32])
def test_a_task_that_does_not_exist(task_id: str) -> None:
    problem(caller().get(f"/v1/notify/{task_id}/explain"), 404, "task_not_found")


def test_who_may_ask() -> None:
    task = make_task()

    problem(anyone().get(_path(task)), 401, "not_authenticated")
    problem(caller(scopes=("notify:write", "notify:operate")).get(_path(task)), 403, "missing_scope")
    problem(caller(partners=(make_partner().partner_id,)).get(_path(task)), 404, "task_not_found")
    document(caller(partners=(task.partner.partner_id,)).get(_path(task)))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_it_is_only_read(method: str) -> None:
    problem(caller().send(method, _path(make_task()), {}), 405, "method_not_allowed")
