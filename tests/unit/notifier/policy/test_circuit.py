from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy import circuit
from notifier.policy.circuit import CLOSED, Circuit, CircuitPolicy, Evidence, State, Tally
from notifier.policy.classify import Judgement, Outcome
from tests.unit.cases import case

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
POLICY = CircuitPolicy(
    failure_ratio=0.5, min_attempts=10, window_seconds=60.0, pause_seconds=5.0, max_pause_seconds=60.0
)
TIMEOUT = "timeout"


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def _counted(
    answered: float, failed: int, *, before: Circuit = CLOSED, policy: CircuitPolicy = POLICY, at: datetime = NOW
) -> Circuit:
    return circuit.counted(before, policy, Tally(answered, failed, TIMEOUT if failed else ""), now=at)


def _opened(openings: int = 1) -> Circuit:
    return Circuit(state=State.OPEN, since=NOW, reason="why", probe_at=NOW + _seconds(5), openings=openings)


def _half_open(openings: int = 1) -> Circuit:
    return circuit.probing(_opened(openings), now=NOW, lease_for=LEASE)


def test_what_is_stored_and_documented_is_stable() -> None:
    assert [state.value for state in State] == ["closed", "open", "half_open"]
    assert CircuitPolicy() == CircuitPolicy(
        failure_ratio=0.5, min_attempts=20, window_seconds=60.0, pause_seconds=2.0, max_pause_seconds=300.0
    )


@pytest.mark.parametrize(
    ("judgement", "asked_for_time", "said"),
    [
        case(Judgement(Outcome.SUCCEEDED), False, Evidence.ANSWERED, id="succeeded"),
        case(Judgement(Outcome.PERMANENT, "http_422", "no"), False, Evidence.ANSWERED, id="refused-for-good"),
        case(Judgement(Outcome.TEMPORARY, "http_503", "no"), False, Evidence.FAILED, id="temporary"),
        case(Judgement(Outcome.TEMPORARY, "connect_timeout", "no"), False, Evidence.FAILED, id="no-answer"),
        case(Judgement(Outcome.TEMPORARY, "http_429", "no"), True, Evidence.NONE, id="asked-for-time"),
        case(Judgement(Outcome.SUCCEEDED), True, Evidence.NONE, id="succeeded-and-asked-for-time"),
        case(Judgement(Outcome.REFUSED, "address_blocked", "no"), False, Evidence.NONE, id="never-left"),
        case(Judgement(Outcome.TEMPORARY, "internal_error", "no"), False, Evidence.NONE, id="our-own-fault"),
        case(Judgement(Outcome.TEMPORARY, "held_up", "no"), False, Evidence.NONE, id="our-own-delay"),
    ],
)
def test_what_an_attempt_says_about_its_partner(judgement: Judgement, asked_for_time: bool, said: Evidence) -> None:
    assert circuit.evidence(judgement, asked_for_time=asked_for_time) is said


@pytest.mark.parametrize(
    ("answered", "failed", "state"),
    [
        case(0, 9, State.CLOSED, id="too-few-though-all-failed"),
        case(0, 10, State.OPEN, id="just-enough-and-all-failed"),
        case(5, 5, State.OPEN, id="exactly-the-ratio"),
        case(6, 5, State.CLOSED, id="below-the-ratio"),
        case(50, 49, State.CLOSED, id="many-below-the-ratio"),
        case(50, 50, State.OPEN, id="many-at-the-ratio"),
        case(1000, 0, State.CLOSED, id="none-failed"),
        case(0, 0, State.CLOSED, id="nothing-happened"),
    ],
)
def test_it_opens_exactly_at_ratio_and_volume(answered: int, failed: int, state: State) -> None:
    assert _counted(answered, failed).state is state


def test_what_came_in_several_batches_counts_together() -> None:
    before = _counted(3, 2)
    assert before == Circuit(attempts=5.0, failures=2.0, counted_at=NOW)

    assert _counted(2, 2, before=before).state is State.CLOSED
    assert _counted(2, 3, before=before).state is State.OPEN


def test_an_open_circuit_says_why_since_when_and_until_when() -> None:
    assert _counted(4, 8) == Circuit(
        state=State.OPEN,
        since=NOW,
        reason="8 of the last 12 attempts failed, the last with timeout",
        probe_at=NOW + _seconds(5),
        openings=1,
    )


def test_answers_alone_never_open_it_whatever_was_counted_before() -> None:
    """The failures opened nothing when they came: an answer is no reason to."""
    before = Circuit(attempts=100.0, failures=99.0, counted_at=NOW)

    assert _counted(1, 0, before=before).state is State.CLOSED


def test_attempts_count_less_as_they_age() -> None:
    before = _counted(0, 8)

    after = _counted(0, 1, before=before, at=NOW + _seconds(60))

    assert after.counted_at == NOW + _seconds(60)
    assert (after.attempts, after.failures) == pytest.approx((8 / math.e + 1, 8 / math.e + 1))


def test_failures_of_seconds_ago_are_still_whole_and_those_of_minutes_ago_are_not() -> None:
    before = _counted(0, 9)

    assert _counted(0, 1, before=before, at=NOW + _seconds(3)).state is State.OPEN
    assert _counted(0, 1, before=before, at=NOW + _seconds(30)).state is State.CLOSED


def test_a_clock_that_is_behind_ages_nothing() -> None:
    before = _counted(0, 9)

    assert _counted(0, 1, before=before, at=NOW - _seconds(3)).state is State.OPEN
    assert circuit.aged(7.0, seconds=-5, window_seconds=60) == 7.0


def test_two_clocks_that_differ_age_nothing_by_taking_turns() -> None:
    state = CLOSED
    for number in range(9):
        state = _counted(0, 1, before=state, at=NOW - _seconds(number % 2))

    assert (state.failures, state.counted_at) == (9, NOW)


def test_without_a_ratio_it_never_opens_by_itself() -> None:
    after = _counted(0, 100_000, policy=replace(POLICY, failure_ratio=None))

    assert (after.state, after.failures) == (State.CLOSED, 100_000)


def test_with_a_ratio_of_one_a_single_answer_keeps_it_closed() -> None:
    strict = replace(POLICY, failure_ratio=1.0)

    assert _counted(0, 10, policy=strict).state is State.OPEN
    assert _counted(1, 1000, policy=strict).state is State.CLOSED


@pytest.mark.parametrize("before", [_opened(), _half_open(), circuit.opened_by_hand(now=NOW)])
def test_one_that_is_not_closed_heeds_no_ordinary_attempt(before: Circuit) -> None:
    """They were on their way when it opened."""
    assert _counted(0, 100, before=before) == before
    assert _counted(100, 0, before=before) == before


def test_a_probe_is_given_the_time_of_its_lease() -> None:
    later = NOW + _seconds(5)

    assert circuit.probing(_opened(3), now=later, lease_for=LEASE) == Circuit(
        state=State.HALF_OPEN, since=later, reason="why", probe_at=later + LEASE, openings=3
    )


def test_the_next_probe_after_a_lost_one_leaves_it_half_open_since_the_first() -> None:
    again = circuit.probing(_half_open(), now=NOW + LEASE, lease_for=LEASE)

    assert (again.state, again.since, again.probe_at) == (State.HALF_OPEN, NOW, NOW + 2 * LEASE)


def _probed(before: Circuit, said: Evidence, *, at: datetime = NOW) -> Circuit:
    return circuit.probed(before, POLICY, said, TIMEOUT, now=at)


def test_an_answered_probe_closes_it_and_everything_before_is_forgotten() -> None:
    assert _probed(_half_open(7), Evidence.ANSWERED) == Circuit(since=NOW)


def test_a_failed_probe_opens_it_for_twice_as_long() -> None:
    assert _probed(_half_open(1), Evidence.FAILED) == Circuit(
        state=State.OPEN,
        since=NOW,
        reason="the probe failed with timeout",
        probe_at=NOW + _seconds(10),
        openings=2,
    )


def test_a_probe_that_says_nothing_lets_the_next_one_go_at_once() -> None:
    before = _half_open(2)

    assert _probed(before, Evidence.NONE) == replace(before, probe_at=NOW)


@pytest.mark.parametrize("said", Evidence)
@pytest.mark.parametrize("before", [CLOSED, circuit.opened_by_hand(now=NOW), _opened()], ids=["closed", "hand", "open"])
def test_a_probe_whose_circuit_somebody_set_meanwhile_changes_nothing(before: Circuit, said: Evidence) -> None:
    assert _probed(before, said) == before


def test_pauses_grow_to_the_cap_and_begin_anew_after_an_answer() -> None:
    state, pauses = _counted(0, 10), list[float]()
    for _ in range(6):
        assert state.probe_at is not None
        pauses.append((state.probe_at - NOW).total_seconds())
        state = _probed(circuit.probing(state, now=NOW, lease_for=LEASE), Evidence.FAILED)
    answered = _probed(circuit.probing(state, now=NOW, lease_for=LEASE), Evidence.ANSWERED)

    assert pauses == [5, 10, 20, 40, 60, 60]
    assert _counted(0, 10, before=answered).probe_at == NOW + _seconds(5)


def test_no_number_of_openings_is_too_large() -> None:
    assert _probed(_half_open(10_000), Evidence.FAILED).probe_at == NOW + _seconds(60)


def test_a_first_pause_above_the_cap_is_the_cap() -> None:
    assert _counted(0, 10, policy=replace(POLICY, pause_seconds=100.0)).probe_at == NOW + _seconds(60)


def test_opened_by_hand_it_has_no_probe() -> None:
    assert circuit.opened_by_hand(now=NOW) == Circuit(state=State.OPEN, since=NOW, reason="opened by an operator")


def test_closed_by_hand_it_counts_from_nothing() -> None:
    closed = circuit.closed_by_hand(now=NOW)

    assert closed == Circuit(since=NOW, reason="closed by an operator")
    assert _counted(0, 9, before=closed).state is State.CLOSED
    assert _counted(0, 10, before=closed).state is State.OPEN


_BATCHES = st.lists(st.tuples(st.floats(-2, 300), st.integers(0, 30), st.integers(0, 30)), max_size=30)


@given(_BATCHES)
def test_it_opens_with_a_failure_and_never_counts_more_than_there_was(batches: list[tuple[float, int, int]]) -> None:
    """Whatever the clocks of several workers say."""
    state, at, answers, failures = CLOSED, NOW, 0, 0
    for seconds, answered, failed in batches:
        at += _seconds(seconds)
        answers, failures = answers + answered, failures + failed
        state = _counted(answered, failed, before=state, at=at)
        if state.state is State.OPEN:
            assert failed > 0
            assert answers + failures >= POLICY.min_attempts
            break
        assert 0 <= state.failures <= state.attempts <= answers + failures
        assert state.failures <= failures


@given(st.lists(st.tuples(st.floats(0, 300), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=30))
def test_the_counts_are_what_the_definition_says_in_whatever_batches_they_came(
    batches: list[tuple[float, int, int]],
) -> None:
    never = replace(POLICY, failure_ratio=None)
    state, at, seen = CLOSED, NOW, list[tuple[datetime, int, int]]()
    for seconds, answered, failed in batches:
        at += _seconds(seconds)
        seen.append((at, answered, failed))
        state = _counted(answered, failed, before=state, at=at, policy=never)

    weights = [math.exp(-(at - when).total_seconds() / POLICY.window_seconds) for when, _, _ in seen]
    failures = sum(weight * failed for weight, (_, _, failed) in zip(weights, seen, strict=True))
    attempts = sum(weight * (answered + failed) for weight, (_, answered, failed) in zip(weights, seen, strict=True))
    assert (state.failures, state.attempts) == pytest.approx((failures, attempts))


@given(st.integers(0, 200), st.floats(0.1, 86_400), st.floats(0.1, 86_400))
def test_a_pause_is_never_shorter_than_the_one_before_and_never_above_the_cap(
    openings: int, pause: float, cap: float
) -> None:
    policy = replace(POLICY, pause_seconds=pause, max_pause_seconds=cap)

    def wait(count: int) -> timedelta:
        opened = circuit.probed(_half_open(count), policy, Evidence.FAILED, TIMEOUT, now=NOW)
        assert opened.probe_at is not None
        return opened.probe_at - NOW

    assert timedelta() < wait(openings) <= wait(openings + 1) <= _seconds(cap) + timedelta(microseconds=1)
