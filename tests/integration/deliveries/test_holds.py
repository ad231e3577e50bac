"""A Retry-After holds the whole partner, and costs nobody an attempt but the one who was told."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from django.test import override_settings

from notifier import clock
from notifier.models import NotificationTask, Partner, PartnerState, Status
from notifier.policy.exchange import Exchange, FailureKind, Timing
from tests.support.factories import make_partner, make_task
from tests.support.stations import Stations

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


def _busy(retry_after: str, status: int = 429) -> Exchange:
    return Exchange(status=status, headers=(("Retry-After", retry_after),), timing=Timing(total_ms=5))


def _held(partner: Partner) -> PartnerState:
    return PartnerState.objects.get(pk=partner.pk)


def _told(retry_after: str, *, status: int = 429, stations: Stations | None = None) -> tuple[Partner, float]:
    """A partner with three notifications, the first of which was answered so; for how many seconds that holds it."""
    partner = make_partner(max_concurrency=1)
    for _ in range(3):
        make_task(partner)
    stations = stations or Stations()
    stations.answer(stations.turn(partner), _busy(retry_after, status))
    until = _held(partner).hold_until
    return partner, 0.0 if until is None else (until - clock.read()).total_seconds()


@pytest.mark.parametrize("status", [429, 503])
def test_seconds_hold_the_whole_partner(status: int) -> None:
    stations = Stations()

    partner, seconds = _told("120", status=status, stations=stations)

    assert 110 < seconds <= 120
    told, *others = NotificationTask.objects.order_by("pk")
    assert (told.status, told.attempt_count) == (Status.FAILED, 1)
    assert told.next_attempt_at is not None
    held = _held(partner).hold_until
    assert held is not None
    assert told.next_attempt_at >= held
    # The others are due, wait, and have lost nothing.
    assert (stations.turn(partner), Stations().turn(partner)) == ([], [])
    assert {(task.status, task.attempt_count) for task in others} == {(Status.PENDING, 0)}


def test_an_answer_that_counts_as_a_success_holds_it_too() -> None:
    partner, stations = make_partner(success_condition="status == 503"), Stations()
    task = make_task(partner)

    stations.answer(stations.turn(partner), _busy("120", 503))

    task.refresh_from_db()
    assert task.status == Status.SUCCEEDED
    assert _held(partner).hold_until is not None


def test_an_http_date_holds_it_until_then() -> None:
    until = (clock.read() + 300 * SECOND).replace(microsecond=0)

    partner, _ = _told(format_datetime(until, usegmt=True))

    assert _held(partner).hold_until == pytest.approx(until, abs=timedelta(milliseconds=1))


@override_settings(NOTIFIER_MAX_HOLD_SECONDS=60)
@pytest.mark.parametrize("retry_after", ["61", "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_hold_is_longer_than_the_setting(retry_after: str) -> None:
    _, seconds = _told(retry_after)

    assert 50 < seconds <= 60


@pytest.mark.parametrize("retry_after", ["0", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_what_cannot_be_read_or_is_over_holds_nobody(retry_after: str) -> None:
    partner, _ = _told(retry_after)

    assert _held(partner).hold_until is None
    assert len(Stations().turn(partner)) == 1


@pytest.mark.parametrize("status", [200, 400, 500, 502])
def test_with_any_other_status_it_holds_nobody(status: int) -> None:
    partner, _ = _told("120", status=status)

    assert _held(partner).hold_until is None


@pytest.mark.parametrize("answers", [("60", "120"), ("120", "60")], ids=["the later one", "the earlier one"])
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_the_longer_hold_wins(answers: tuple[str, str], together: bool) -> None:
    partner = make_partner()
    stations = Stations()
    for _ in range(2):
        make_task(partner)
    sendings = stations.turn(partner)
    if len(sendings) < 2:
        sendings += stations.turn(partner)
    assert len(sendings) == 2

    began: datetime | None = None
    for sending, answer in zip(sendings, answers, strict=True):
        stations.put(sending, _busy(answer))
        if not together:
            stations.recorder.work()
            began = began or _held(partner).held_at
    stations.recorder.work()

    state = _held(partner)
    assert state.hold_until is not None
    assert 110 < (state.hold_until - clock.read()).total_seconds() <= 120
    # Held without a break since the first of them.
    assert began is None or state.held_at == began


def test_when_the_hold_is_over_they_go_and_the_next_hold_begins_anew() -> None:
    stations = Stations()
    partner, _ = _told("120", stations=stations)
    long_ago = clock.read() - 60 * SECOND
    PartnerState.objects.filter(pk=partner.pk).update(held_at=long_ago - SECOND, hold_until=long_ago)

    stations.answer(stations.turn(partner), _busy("30"))

    state = _held(partner)
    assert state.held_at is not None
    assert state.held_at > long_ago


def test_the_hold_stands_before_the_slots_are_free() -> None:
    """Else a claim could come between, and send to a partner that has just asked for time."""
    partner = make_partner()
    make_task(partner)
    stations = Stations()
    holds: list[datetime | None] = []
    stations.on_release = lambda: holds.append(_held(partner).hold_until)

    stations.answer(stations.turn(partner), _busy("120"))

    assert len(holds) == 1
    assert holds[0] is not None


def test_nobody_else_is_held() -> None:
    other = make_partner()
    make_task(other)

    _told("120")

    assert len(Stations().turn(other)) == 1


def test_a_partner_that_only_asks_for_time_is_not_down() -> None:
    partner = make_partner(circuit_min_attempts=1)
    for _ in range(3):
        make_task(partner)
    stations = Stations()

    stations.answer(stations.turn(partner), _busy("1"))

    assert _held(partner).circuit_state == "closed"


def test_a_request_that_never_left_is_no_failure_of_the_partner() -> None:
    partner = make_partner(circuit_min_attempts=1)
    make_task(partner)
    stations = Stations()

    stations.answer(stations.turn(partner), Exchange(failure=FailureKind.ADDRESS_BLOCKED, maybe_sent=False))

    assert _held(partner).circuit_state == "closed"
