"""What attempts taught outlasts the database's absence."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from notifier import clock
from notifier.models import NotificationTask, Partner, PartnerState, Status
from notifier.policy.circuit import State
from notifier.policy.exchange import Exchange, Timing
from tests.support.away import away
from tests.support.factories import make_partner, make_task
from tests.support.stations import OK, Stations

pytestmark = pytest.mark.django_db(transaction=True)

DOWN = Exchange(status=502, timing=Timing(total_ms=5))
BUSY = Exchange(status=429, headers=(("Retry-After", "60"),), timing=Timing(total_ms=5))


def _sent(tasks: int, **fields: Any) -> tuple[Stations, Partner]:
    partner = make_partner(**fields)
    for _ in range(tasks):
        make_task(partner)
    stations = Stations()
    stations.prove_prompt(partner)
    assert len(stations.turn(partner)) == tasks
    return stations, partner


def _state(partner: Partner) -> PartnerState:
    return PartnerState.objects.get(pk=partner.pk)


def _answer_while_away(stations: Stations, answer: Exchange, number: int) -> None:
    with away(PartnerState), pytest.raises(OperationalError):
        stations.answer(stations.sent[:number], answer)


def test_what_came_back_is_written_and_its_slots_are_free_though_its_lesson_is_not() -> None:
    stations, partner = _sent(4, circuit_min_attempts=4)
    free = stations.woken.free

    _answer_while_away(stations, DOWN, 4)

    assert set(NotificationTask.objects.values_list("status", flat=True)) == {Status.FAILED}
    assert stations.woken.free == free + 4
    assert _state(partner).circuit_state == State.CLOSED


def test_a_lesson_that_could_not_be_written_is_written_with_the_next_ones() -> None:
    stations, partner = _sent(5)
    _answer_while_away(stations, DOWN, 3)

    counted = []
    for sending in stations.sent[3:]:
        stations.answer([sending], DOWN)
        counted.append(_state(partner).circuit_failures)

    # Once: with the fifth, what was written with the fourth is not counted again.
    assert counted == pytest.approx([4, 5], abs=0.5)


@pytest.mark.parametrize("stopping", [False, True])
def test_a_lesson_that_could_not_be_written_is_written_though_nothing_more_comes(stopping: bool) -> None:
    """A hold, or a probe's answer, would else be forgotten in a quiet worker."""
    stations, partner = _sent(1)
    _answer_while_away(stations, BUSY, 1)
    if stopping:
        stations.recorder.stop()

    assert stations.recorder.work() is not stopping

    hold_until = _state(partner).hold_until
    assert hold_until is not None
    assert hold_until > clock.read()


def test_what_was_written_is_not_looked_for_with_the_next_batch() -> None:
    stations, _ = _sent(1)
    other = make_partner()
    task = make_task(other)
    stations.prove_prompt(other)
    stations.answer(stations.sent[:1], DOWN)

    stations.turn(other)
    stations.answer(stations.sent[-1:], OK)

    task.refresh_from_db()
    assert task.status == Status.SUCCEEDED


def test_an_answer_alone_writes_nothing() -> None:
    stations, partner = _sent(3)

    with away(PartnerState):
        stations.answer(stations.sent, OK)

    assert _state(partner).circuit_attempts == 0


def test_of_a_hold_and_failures_in_one_batch_both_are_written() -> None:
    stations, partner = _sent(5, circuit_min_attempts=4)

    for sending in stations.sent[:4]:
        stations.put(sending, DOWN)
    stations.answer(stations.sent[4:], BUSY)

    state = _state(partner)
    assert (state.circuit_state, state.hold_until is None) == (State.OPEN, False)
