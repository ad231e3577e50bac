"""An outage of a partner opens its circuit and does not burn its notifications' attempts."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from deliveries.sending import Sending
from notifier import clock, lifecycle, partner_flow
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Partner, PartnerState, Status
from notifier.models.task import DeadReason
from notifier.policy.circuit import State
from notifier.policy.exchange import Exchange, FailureKind, Timing
from notifier.transactions import atomically
from tests.support.factories import is_mysql, make_partner, make_task
from tests.support.stations import OK, Stations
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
DOWN = Exchange(status=502, timing=Timing(total_ms=5))
REFUSED_FOR_GOOD = Exchange(status=422, timing=Timing(total_ms=5))
BUSY = Exchange(status=503, headers=(("Retry-After", "60"),), timing=Timing(total_ms=5))


def _partner(tasks: int, **fields: Any) -> Partner:
    """A partner whose circuit opens when four attempts failed."""
    partner = make_partner(**({"circuit_min_attempts": 4} | fields))
    for _ in range(tasks):
        make_task(partner)
    return partner


def _down(tasks: int = 3, *, probe_due: bool = True, **fields: Any) -> Partner:
    """A partner whose circuit is open, and whose probe may go now or in a minute."""
    now = clock.read()
    partner = make_partner()
    for _ in range(tasks):
        make_task(partner, **fields)
    PartnerState.objects.filter(pk=partner.pk).update(
        circuit_state=State.OPEN,
        circuit_since=now - MINUTE,
        circuit_reason="it is down",
        circuit_probe_at=now - MINUTE if probe_due else now + MINUTE,
        circuit_openings=1,
    )
    return partner


def _state(partner: Partner) -> PartnerState:
    return PartnerState.objects.get(pk=partner.pk)


def _make_probe_due(partner: Partner) -> None:
    PartnerState.objects.filter(pk=partner.pk).update(circuit_probe_at=clock.read())


def _probe(stations: Stations, partner: Partner) -> Sending:
    (sending,) = stations.turn(partner)
    assert sending.probe
    return sending


def _seconds_to_probe(partner: Partner) -> float:
    probe_at = _state(partner).circuit_probe_at
    assert probe_at is not None
    return (probe_at - clock.read()).total_seconds()


def test_recorded_failures_open_it_and_what_waits_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    partner = _partner(10, max_concurrency=4)
    stations = Stations()
    first = stations.turn(partner)

    with caplog.at_level(logging.WARNING, "deliveries.lessons"):
        stations.answer(first, DOWN)

    state = _state(partner)
    assert len(first) == 4
    assert (state.circuit_state, state.circuit_openings) == (State.OPEN, 1)
    assert state.circuit_reason == "4 of the last 4 attempts failed, the last with http_502"
    assert [record.getMessage() for record in caplog.records] == [
        f"the circuit of partner {partner.partner_id} opened: {state.circuit_reason}; "
        f"next probe at {state.circuit_probe_at}"
    ]
    # Whoever asks: the six that wait are as they were.
    assert (stations.turn(partner), Stations().turn(partner)) == ([], [])
    waiting = NotificationTask.objects.exclude(pk__in=[sending.claim.id for sending in first])
    assert set(waiting.values_list("status", "attempt_count", "attempts_excused")) == {(Status.PENDING, 0, 0)}


def test_failures_that_several_workers_saw_count_together() -> None:
    partner = _partner(4, max_concurrency=2)
    one, other = Stations(), Stations()

    one.answer(one.turn(partner), DOWN)
    assert _state(partner).circuit_state == State.CLOSED
    other.answer(other.turn(partner), DOWN)

    assert _state(partner).circuit_state == State.OPEN


def test_answers_that_were_never_written_weigh_when_failures_come() -> None:
    """A healthy partner's row is never written; what it answered is known when it matters."""
    partner = _partner(9, max_concurrency=5)
    stations = Stations()
    stations.answer(stations.turn(partner), OK)
    assert _state(partner).circuit_counted_at is None

    stations.answer(stations.turn(partner), DOWN)

    state = _state(partner)
    assert state.circuit_state == State.CLOSED
    assert (state.circuit_attempts, state.circuit_failures) == pytest.approx((9, 4), abs=0.5)


def test_without_a_ratio_it_stays_closed() -> None:
    partner = _partner(20, circuit_failure_ratio=None, max_concurrency=20)
    stations = Stations()
    stations.prove_prompt(partner)

    stations.answer(stations.turn(partner), DOWN)

    assert (_state(partner).circuit_state, len(stations.sent)) == (State.CLOSED, 20)


def test_one_probe_goes_and_nothing_beside_it() -> None:
    partner = _down(5)
    stations = Stations()

    sending = _probe(stations, partner)

    state = _state(partner)
    assert state.circuit_state == State.HALF_OPEN
    assert state.circuit_probe_at == stations.sent_at[0] + timedelta(seconds=settings.NOTIFIER_LEASE_SECONDS)
    assert (stations.turn(partner), Stations().turn(partner)) == ([], [])
    assert NotificationTask.objects.filter(attempt_count=0).exclude(pk=sending.claim.id).count() == 4


def test_of_claimers_side_by_side_one_sends_the_probe() -> None:
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time: there is nothing to race")
    partners = [_down(5) for _ in range(5)]

    def claim(_: int) -> list[Sending]:
        stations = Stations()
        for _ in range(5):
            # Those that another holds at this moment come again by a timer.
            stations.turn(*partners)
        return stations.sent

    sent = [sending for sendings in at_once(4, claim) for sending in sendings]

    assert all(sending.probe for sending in sent)
    assert sorted(sending.partner.pk for sending in sent) == [partner.pk for partner in partners]


def test_before_its_time_no_probe_goes() -> None:
    partner = _down(probe_due=False)

    assert Stations().turn(partner) == []
    assert _state(partner).circuit_state == State.OPEN


def test_a_circuit_that_an_operator_opened_sends_no_probe() -> None:
    partner = _partner(3)
    atomically(lambda: partner_flow.set_circuit(partner.pk, open_=True, now=clock.read()))

    assert Stations().turn(partner) == []


@pytest.mark.parametrize("max_attempts", [1, 2, 10])
def test_a_failed_probe_costs_its_task_nothing_and_the_next_pause_is_longer(max_attempts: int) -> None:
    partner = _down(1, max_attempts=max_attempts)
    stations = Stations()

    for number in range(1, 6):
        _make_probe_due(partner)
        stations.answer([_probe(stations, partner)], DOWN)
        NotificationTask.objects.update(next_attempt_at=clock.read())

        task = NotificationTask.objects.get()
        assert (task.status, task.attempt_count, task.attempts_excused) == (Status.FAILED, number, number)
        assert task.attempts_used == 0
        assert (_state(partner).circuit_state, _state(partner).circuit_openings) == (State.OPEN, number + 1)
        pause = partner.circuit_pause_seconds * 2**number
        assert pause - 5 < _seconds_to_probe(partner) <= pause
    # What was tried is on record all the same.
    assert list(NotificationAttempt.objects.order_by("attempt_no").values_list("attempt_no", "status")) == [
        (number, AttemptStatus.FAILED) for number in range(1, 6)
    ]


def test_after_its_excused_attempts_a_task_has_its_whole_budget() -> None:
    partner = _down(1, max_attempts=2)
    stations = Stations()
    stations.answer([_probe(stations, partner)], DOWN)
    atomically(lambda: partner_flow.set_circuit(partner.pk, open_=False, now=clock.read()))

    found = []
    for _ in range(2):
        NotificationTask.objects.update(next_attempt_at=clock.read())
        stations.answer(stations.turn(partner), DOWN)
        task = NotificationTask.objects.get()
        found.append((task.status, task.attempt_count, task.attempts_used, task.dead_reason))

    assert found == [(Status.FAILED, 2, 1, None), (Status.DEAD, 3, 2, DeadReason.EXHAUSTED)]


@pytest.mark.parametrize(
    ("answer", "status"), [(OK, Status.SUCCEEDED), (REFUSED_FOR_GOOD, Status.DEAD)], ids=["succeeded", "refused"]
)
def test_an_answered_probe_closes_it_and_wakes_everybody(
    answer: Exchange, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    partner = _down(3)
    stations = Stations()
    probe = _probe(stations, partner)

    with caplog.at_level(logging.WARNING, "deliveries.lessons"):
        stations.answer([probe], answer)

    assert NotificationTask.objects.get(pk=probe.claim.id).status == status
    state = _state(partner)
    assert (state.circuit_state, state.circuit_openings, state.circuit_reason) == (State.CLOSED, 0, "")
    assert stations.woken_everywhere == [partner.partner_id]
    assert [record.getMessage() for record in caplog.records] == [
        f"the circuit of partner {partner.partner_id} closed: its probe was answered"
    ]
    assert len(stations.turn()) == 2


def test_a_probe_that_is_never_heard_of_lets_the_next_one_go_when_its_lease_has_run_out() -> None:
    partner = _down(3)
    lost = _probe(Stations(), partner)
    stations = Stations()
    assert stations.turn(partner) == []

    past = clock.read()
    PartnerState.objects.filter(pk=partner.pk).update(circuit_probe_at=past)
    NotificationTask.objects.filter(pk=lost.claim.id).update(lease_expires_at=past)

    since = _state(partner).circuit_since
    assert _probe(stations, partner).claim.id != lost.claim.id
    assert (_state(partner).circuit_state, _state(partner).circuit_since) == (State.HALF_OPEN, since)


@override_settings(NOTIFIER_LEASE_SECONDS=settings.NOTIFIER_MAX_TIMEOUT_SECONDS)
def test_a_probe_that_is_given_back_unsent_lets_the_next_one_go_at_once() -> None:
    partner = _down(1)
    late = Stations()

    assert late.turn(partner) == []

    task = NotificationTask.objects.get()
    assert (task.status, task.attempt_count) == (Status.PENDING, 0)
    assert _state(partner).circuit_state == State.HALF_OPEN
    with override_settings(NOTIFIER_LEASE_SECONDS=60):
        assert _probe(Stations(), partner).claim.id == task.pk


def test_a_probe_that_is_given_back_after_an_operator_closed_the_circuit_leaves_it_closed() -> None:
    partner = _down(1)
    _probe(Stations(), partner)
    atomically(lambda: partner_flow.set_circuit(partner.pk, open_=False, now=clock.read()))

    partner_flow.probe_again([partner.pk], now=clock.read())

    assert (_state(partner).circuit_state, _state(partner).circuit_probe_at) == (State.CLOSED, None)


@pytest.mark.parametrize(
    "result",
    [Exchange(failure=FailureKind.ADDRESS_BLOCKED, maybe_sent=False), ValueError("cannot be built")],
    ids=["blocked", "poisoned"],
)
def test_a_probe_that_never_left_says_nothing_and_the_next_one_may_go(result: Exchange | Exception) -> None:
    partner = _down(2)
    stations = Stations()
    first = _probe(stations, partner)

    stations.answer([first], result)

    assert _state(partner).circuit_state == State.HALF_OPEN
    assert _probe(stations, partner).claim.id != first.claim.id


def test_a_probe_that_is_asked_for_time_holds_the_partner_and_costs_nothing() -> None:
    partner = _down(2, max_attempts=1)
    stations = Stations()

    stations.answer([_probe(stations, partner)], BUSY)

    assert stations.turn(partner) == []
    assert _state(partner).hold_until is not None
    assert NotificationTask.objects.filter(status=Status.FAILED, attempts_excused=1).count() == 1
    PartnerState.objects.filter(pk=partner.pk).update(hold_until=clock.read())
    _probe(stations, partner)


def test_what_was_in_flight_when_it_opened_does_not_close_it() -> None:
    partner = _partner(5, max_concurrency=5)
    stations = Stations()
    sendings = stations.turn(partner)
    assert len(sendings) == 5

    stations.answer(sendings[:4], DOWN)
    stations.answer(sendings[4:], OK)

    assert _state(partner).circuit_state == State.OPEN


def test_a_pause_holds_from_the_next_claim_on_though_the_worker_knows_the_partner() -> None:
    partner = _partner(6, max_concurrency=2)
    stations = Stations()
    assert len(stations.turn(partner)) == 2

    assert partner_flow.pause(partner.pk, now=clock.read()) is True
    stations.answer(stations.sent)

    assert stations.turn(partner) == []
    assert partner_flow.resume(partner.pk) is True
    assert len(stations.turn(partner)) == 2


def test_a_lost_probe_counts_as_any_lost_attempt() -> None:
    """The partner may not be to blame: what kills its worker must not go round for ever."""
    partner = _down(1, max_attempts=1)
    _probe(Stations(), partner)
    NotificationTask.objects.update(lease_expires_at=clock.read())

    atomically(lambda: lifecycle.release_expired(now=clock.read(), limit=10))

    task = NotificationTask.objects.get()
    assert (task.status, task.dead_reason, task.attempts_excused) == (Status.DEAD, DeadReason.EXHAUSTED, 0)
