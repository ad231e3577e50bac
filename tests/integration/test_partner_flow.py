"""What operators set, and what is written of a partner's state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from notifier import partner_flow
from notifier.models import Partner, PartnerState
from notifier.partner_flow import Lesson
from notifier.policy.circuit import CircuitPolicy, Evidence, State, Tally
from tests.support.factories import make_partner

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OPEN = {"circuit_state": State.OPEN, "circuit_probe_at": NOW, "circuit_since": NOW, "circuit_openings": 3}
HALF_OPEN = OPEN | {"circuit_state": State.HALF_OPEN}
BY_HAND = {"circuit_state": State.OPEN, "circuit_since": NOW}


def _state(partner: Partner) -> PartnerState:
    return PartnerState.objects.get(pk=partner.pk)


def test_a_pause_begins_once_and_ends_once() -> None:
    partner, other = make_partner(), make_partner()

    assert [partner_flow.pause(partner.pk, now=NOW), partner_flow.pause(partner.pk, now=NOW + SECOND)] == [True, False]
    assert (_state(partner).paused_at, _state(other).paused_at) == (NOW, None)
    assert [partner_flow.resume(partner.pk), partner_flow.resume(partner.pk)] == [True, False]
    assert _state(partner).paused_at is None


@pytest.mark.parametrize(
    ("before", "open_", "changed"),
    [
        ({}, True, True),
        (OPEN, True, True),
        (HALF_OPEN, True, True),
        (BY_HAND, True, False),
        ({}, False, False),
        (OPEN, False, True),
        (HALF_OPEN, False, True),
        (BY_HAND, False, True),
    ],
)
def test_an_operator_opens_and_closes_a_circuit(before: dict[str, Any], open_: bool, changed: bool) -> None:
    partner = make_partner(state=before | {"circuit_failures": 7.0, "circuit_attempts": 7.0})
    later = NOW + SECOND

    assert partner_flow.set_circuit(partner.pk, open_=open_, now=later) is changed

    state = _state(partner)
    if not changed:
        assert (state.circuit_since, state.circuit_failures) == (before.get("circuit_since"), 7.0)
        return
    assert (state.circuit_state, state.circuit_since, state.circuit_probe_at, state.circuit_openings) == (
        State.OPEN if open_ else State.CLOSED, later, None, 0,
    )  # fmt: skip
    assert state.circuit_reason == ("opened by an operator" if open_ else "closed by an operator")
    assert (state.circuit_failures, state.circuit_attempts) == (0, 0)


def test_of_a_partner_that_is_not_there_nothing_is_set() -> None:
    assert partner_flow.pause(0, now=NOW) is False
    assert partner_flow.resume(0) is False
    assert partner_flow.set_circuit(0, open_=True, now=NOW) is False
    assert partner_flow.release_hold(0, now=NOW) is False


@pytest.mark.parametrize(("until", "released"), [(None, False), (NOW, False), (NOW + SECOND, True)])
def test_a_hold_that_is_not_over_can_be_released(until: datetime | None, released: bool) -> None:
    partner = make_partner(state={"hold_until": until, "held_at": NOW - SECOND})

    assert partner_flow.release_hold(partner.pk, now=NOW) is released

    assert _state(partner).hold_until == (None if released else until)


def _lesson(**fields: Any) -> Lesson:
    defaults: dict[str, Any] = {"policy": CircuitPolicy(min_attempts=2), "tally": Tally()}
    return Lesson(**(defaults | fields))


def _learn(partner: Partner, lesson: Lesson) -> list[State]:
    with transaction.atomic():
        return [turned.circuit.state for turned in partner_flow.learn({partner.pk: lesson}, now=NOW)]


def test_what_was_learned_is_told_only_where_a_circuit_turned() -> None:
    partner = make_partner()
    one_failed, answered = _lesson(tally=Tally(0, 1, "timeout")), _lesson(probe=Evidence.ANSWERED)

    assert _learn(partner, one_failed) == []
    assert _learn(partner, one_failed) == [State.OPEN]
    assert _learn(partner, one_failed) == []
    with transaction.atomic():
        partner_flow.send_probes({partner.pk: _state(partner).flow(enabled=True)}, now=NOW, lease_for=SECOND)
    assert _learn(partner, answered) == [State.CLOSED]


def test_a_reason_that_is_too_long_is_cut() -> None:
    partner = make_partner()

    _learn(partner, _lesson(tally=Tally(0, 2, "x" * 500)))

    assert len(_state(partner).circuit_reason) == 200


def test_a_partner_that_was_deleted_meanwhile_is_left_out() -> None:
    with transaction.atomic():
        assert partner_flow.learn({0: _lesson(tally=Tally(0, 9, "timeout"), hold_until=NOW)}, now=NOW) == []


def test_partners_without_limits_are_not_written_by_a_claim(django_assert_num_queries: Any) -> None:
    partner = make_partner()
    flow = _state(partner).flow(enabled=True)

    with django_assert_num_queries(0):
        partner_flow.spend({partner.pk: 5}, {partner.pk: (flow, partner.limits)}, now=NOW)
        partner_flow.send_probes({}, now=NOW, lease_for=SECOND)


def test_a_reading_before_the_last_one_does_not_turn_back_the_time_of_the_tokens() -> None:
    """Else the next reading would earn once more what the last one has earned already."""
    partner = make_partner(rate_per_second=10.0, burst=50, state={"tokens": 20.0, "tokens_at": NOW})
    flow = _state(partner).flow(enabled=True)

    partner_flow.spend({partner.pk: 5}, {partner.pk: (flow, partner.limits)}, now=NOW - SECOND)

    assert (_state(partner).tokens, _state(partner).tokens_at) == (15.0, NOW)


def test_every_column_of_a_circuit_comes_back_as_it_was_written() -> None:
    """In one statement for several partners, some of them without what others have."""
    partners = [make_partner(), make_partner()]
    with transaction.atomic():
        partner_flow.learn(
            {
                partners[0].pk: _lesson(tally=Tally(0, 2, "timeout")),
                partners[1].pk: _lesson(tally=Tally(1 / 3, 1, "timeout"), policy=CircuitPolicy()),
            },
            now=NOW,
        )

    opened, counted = (_state(partner).circuit for partner in partners)
    assert (opened.state, opened.since, opened.openings, opened.counted_at) == (State.OPEN, NOW, 1, None)
    assert opened.probe_at == NOW + timedelta(seconds=CircuitPolicy().pause_seconds)
    assert (counted.state, counted.since, counted.probe_at, counted.counted_at) == (State.CLOSED, None, None, NOW)
    assert (counted.attempts, counted.failures) == (4 / 3, 1.0)
