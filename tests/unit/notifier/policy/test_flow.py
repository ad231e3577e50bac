from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy import circuit
from notifier.policy.circuit import Circuit, State
from notifier.policy.flow import Flow, Limits, Permit, Wait, permit, refilled
from tests.unit.cases import case

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NO_LIMITS = Limits()


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


SINCE = NOW - _seconds(30)
SOON = NOW + _seconds(30)

PAUSED = Flow(paused_at=SINCE)
DISABLED = Flow(enabled=False)
HELD = Flow(hold_until=SOON, held_at=SINCE)
OPEN = Flow(circuit=Circuit(state=State.OPEN, since=SINCE, probe_at=SOON))
OPEN_BY_HAND = Flow(circuit=circuit.opened_by_hand(now=SINCE))
PROBING = Flow(circuit=Circuit(state=State.HALF_OPEN, since=SINCE, probe_at=SOON))
PROBE_DUE = Flow(circuit=Circuit(state=State.OPEN, since=SINCE, probe_at=NOW))
PROBE_LOST = Flow(circuit=Circuit(state=State.HALF_OPEN, since=SINCE, probe_at=NOW))


def _permit(
    flow: Flow = Flow(), limits: Limits = NO_LIMITS, *, in_flight: int = 0, slots: int = 100, at: datetime = NOW
) -> Permit:
    return permit(flow, limits, in_flight=in_flight, slots=slots, now=at)


def test_the_reasons_are_stable() -> None:
    assert [wait.value for wait in Wait] == ["paused", "retry_after", "circuit_open", "concurrency", "rate_limit"]


@pytest.mark.parametrize("slots", [0, 1, 100])
@pytest.mark.parametrize(
    "limits",
    [
        case(NO_LIMITS, id="no-limits"),
        case(Limits(rate_per_second=1.0, burst=100, max_concurrency=100), id="wide-limits"),
    ],
)
def test_whom_nothing_holds_back_may_use_every_slot(slots: int, limits: Limits) -> None:
    assert _permit(limits=limits, slots=slots) == Permit(count=slots)


@pytest.mark.parametrize("slots", [0, 1, 100])
@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        case(PAUSED, Permit(count=0, wait=Wait.PAUSED, since=SINCE), id="paused"),
        case(DISABLED, Permit(count=0, wait=Wait.PAUSED), id="disabled"),
        case(HELD, Permit(count=0, wait=Wait.RETRY_AFTER, since=SINCE, until=SOON), id="held"),
        case(OPEN, Permit(count=0, wait=Wait.CIRCUIT_OPEN, since=SINCE, until=SOON), id="open"),
        case(OPEN_BY_HAND, Permit(count=0, wait=Wait.CIRCUIT_OPEN, since=SINCE), id="open-by-hand"),
        case(PROBING, Permit(count=0, wait=Wait.CIRCUIT_OPEN, since=SINCE, until=SOON), id="probing"),
    ],
)
def test_who_must_wait_gets_nothing_and_is_told_why_since_and_until_when(
    flow: Flow, expected: Permit, slots: int
) -> None:
    assert _permit(flow, Limits(rate_per_second=1.0, max_concurrency=1), in_flight=5, slots=slots) == expected


@pytest.mark.parametrize("hold_until", [NOW, NOW - MICROSECOND])
def test_a_hold_ends_at_its_time(hold_until: datetime) -> None:
    assert _permit(Flow(hold_until=hold_until, held_at=SINCE)) == Permit(count=100)


@pytest.mark.parametrize("flow", [PROBE_DUE, PROBE_LOST], ids=["due", "the-last-one-was-lost"])
def test_of_a_partner_that_is_down_one_probe_goes(flow: Flow) -> None:
    assert _permit(flow) == Permit(count=1, wait=Wait.CIRCUIT_OPEN, since=SINCE, probe=True)
    assert not _permit(flow, at=NOW - MICROSECOND).probe


@pytest.mark.parametrize(
    ("flow", "wait"),
    [
        case(replace(HELD, paused_at=SINCE, circuit=OPEN.circuit), Wait.PAUSED, id="paused-before-all"),
        case(replace(HELD, enabled=False), Wait.PAUSED, id="disabled-before-held"),
        case(replace(HELD, circuit=OPEN.circuit), Wait.RETRY_AFTER, id="held-before-open"),
        case(replace(HELD, circuit=PROBE_DUE.circuit), Wait.RETRY_AFTER, id="held-before-its-probe"),
        case(replace(OPEN, tokens=0.0, tokens_at=NOW), Wait.CIRCUIT_OPEN, id="open-before-the-limits"),
    ],
)
def test_of_several_reasons_the_one_that_no_other_outlasts_is_named(flow: Flow, wait: Wait) -> None:
    found = _permit(flow, Limits(rate_per_second=1.0, max_concurrency=1), in_flight=1)

    assert (found.count, found.wait) == (0, wait)


@pytest.mark.parametrize(
    ("limits", "tokens", "in_flight", "expected"),
    [
        case(Limits(max_concurrency=1), None, 1, Wait.CONCURRENCY, id="concurrency"),
        case(Limits(rate_per_second=1.0), 0.0, 0, Wait.RATE_LIMIT, id="rate"),
    ],
)
def test_a_probe_keeps_to_the_limits(limits: Limits, tokens: float | None, in_flight: int, expected: Wait) -> None:
    found = _permit(replace(PROBE_DUE, tokens=tokens, tokens_at=NOW), limits, in_flight=in_flight)

    assert (found.count, found.wait, found.probe) == (0, expected, False)


@pytest.mark.parametrize(
    ("in_flight", "slots", "count", "wait"),
    [
        case(0, 3, 3, None, id="fewer-slots-than-the-limit"),
        case(0, 5, 5, None, id="as-many-as-the-limit"),
        case(0, 6, 5, Wait.CONCURRENCY, id="more-than-the-limit"),
        case(3, 2, 2, None, id="the-rest"),
        case(3, 9, 2, Wait.CONCURRENCY, id="more-than-the-rest"),
        case(5, 9, 0, Wait.CONCURRENCY, id="full"),
        case(8, 9, 0, Wait.CONCURRENCY, id="the-limit-was-lowered"),
    ],
)
def test_no_more_are_in_flight_than_may_be(in_flight: int, slots: int, count: int, wait: Wait | None) -> None:
    assert _permit(limits=Limits(max_concurrency=5), in_flight=in_flight, slots=slots) == Permit(count=count, wait=wait)


@pytest.mark.parametrize(
    ("limits", "bucket"),
    [
        case(Limits(rate_per_second=10.0), 10.0, id="a-second's"),
        case(Limits(rate_per_second=0.1), 1.0, id="never-less-than-one"),
        case(Limits(rate_per_second=10.0, burst=3), 3.0, id="a-small-burst"),
        case(Limits(rate_per_second=0.1, burst=50), 50.0, id="a-large-burst"),
    ],
)
def test_a_bucket_is_full_at_first_and_after_a_silence_and_holds_no_more(limits: Limits, bucket: float) -> None:
    assert refilled(Flow(), limits, NOW) == bucket
    assert refilled(Flow(tokens=0.0, tokens_at=NOW - timedelta(days=1)), limits, NOW) == bucket
    assert _permit(limits=limits) == Permit(
        count=int(bucket),
        wait=Wait.RATE_LIMIT,
        until=NOW + _seconds(1 / limits.rate_per_second),  # type: ignore[operator]  # it is there
    )


@pytest.mark.parametrize(
    ("tokens", "age", "count", "wait_seconds"),
    [
        case(0.0, 0.0, 0, 0.25, id="just-emptied"),
        case(0.0, 0.1, 0, 0.15, id="on-the-way"),
        case(0.0, 0.25, 1, 0.25, id="one-earned"),
        case(0.0, 0.249_999, 0, 0.000_001, id="a-microsecond-before"),
        case(0.5, 0.25, 1, 0.125, id="one-and-a-half"),
        case(2.0, 0.25, 3, 0.25, id="three"),
        case(7.0, 60.0, 8, 0.25, id="full"),
    ],
)
def test_tokens_come_back_at_the_rate(tokens: float, age: float, count: int, wait_seconds: float) -> None:
    flow = Flow(tokens=tokens, tokens_at=NOW - _seconds(age))

    found = _permit(flow, Limits(rate_per_second=4.0, burst=8))

    assert found == Permit(count=count, wait=Wait.RATE_LIMIT, until=NOW + _seconds(wait_seconds))


def test_when_it_is_told_that_the_next_may_go_it_may() -> None:
    """Times are microseconds, and thirds of a second are not."""
    limits, at = Limits(rate_per_second=3.0, burst=1), NOW
    flow = Flow(tokens=0.0, tokens_at=NOW)
    for _ in range(100):
        until = _permit(flow, limits, at=at).until
        assert until is not None
        at = until
        assert _permit(flow, limits, at=at).count == 1
        flow = replace(flow, tokens=refilled(flow, limits, at) - 1, tokens_at=at)

    # Not earlier than a hundred thirds of a second, but for the rounding.
    assert at - NOW >= _seconds(100 / 3 - 0.000_1)


def test_a_reading_before_the_last_one_earns_and_loses_nothing() -> None:
    flow = Flow(tokens=2.0, tokens_at=NOW + _seconds(5))

    assert refilled(flow, Limits(rate_per_second=4.0, burst=8), NOW) == 2.0


def test_of_two_limits_the_narrower_one_is_the_reason() -> None:
    flow = Flow(tokens=3.0, tokens_at=NOW)

    assert _permit(flow, Limits(rate_per_second=1.0, burst=9, max_concurrency=2)).wait is Wait.CONCURRENCY
    assert _permit(flow, Limits(rate_per_second=1.0, burst=9, max_concurrency=2)).count == 2
    assert _permit(flow, Limits(rate_per_second=1.0, burst=9, max_concurrency=9)).wait is Wait.RATE_LIMIT
    assert _permit(flow, Limits(rate_per_second=1.0, burst=9, max_concurrency=9)).count == 3


def test_a_limit_that_was_lifted_holds_nobody_back() -> None:
    assert _permit(Flow(tokens=-5.0, tokens_at=NOW)) == Permit(count=100)


def test_a_bucket_that_was_made_smaller_holds_no_more_than_that() -> None:
    assert refilled(Flow(tokens=100.0, tokens_at=NOW), Limits(rate_per_second=1.0, burst=5), NOW) == 5.0


@given(
    rate=st.floats(0.001, 10_000),
    burst=st.none() | st.integers(1, 1000),
    # Each claim: how long after the one before (readings may go back a little), and for how many slots.
    claims=st.lists(st.tuples(st.floats(-0.5, 20) | st.just(0.0), st.integers(0, 400)), min_size=1, max_size=60),
)
def test_no_more_go_in_any_time_than_the_burst_and_what_the_rate_earns(
    rate: float, burst: int | None, claims: list[tuple[float, int]]
) -> None:
    limits = Limits(rate_per_second=rate, burst=burst)
    flow, at, latest, taken = Flow(), NOW, NOW, list[tuple[datetime, int]]()
    for seconds, slots in claims:
        at += _seconds(seconds)
        latest = max(latest, at)
        found = _permit(flow, limits, slots=slots, at=at)
        # As notifier.partner_flow.spend writes it.
        after = at if flow.tokens_at is None else max(at, flow.tokens_at)
        flow = replace(flow, tokens=refilled(flow, limits, at) - found.count, tokens_at=after)
        taken.append((after, found.count))

    for index, (begun, _) in enumerate(taken):
        total = 0
        for ended, count in taken[index:]:
            total += count
            earned = limits.bucket + rate * (ended - begun).total_seconds()
            assert total <= earned * (1 + 1e-9) + 1e-5


@given(
    rate=st.floats(0.01, 1000),
    tokens=st.floats(-1, 50),
    in_flight=st.integers(0, 20),
    most=st.none() | st.integers(1, 20),
    slots=st.integers(0, 50),
    flow=st.sampled_from([Flow(), PAUSED, DISABLED, HELD, OPEN, OPEN_BY_HAND, PROBING, PROBE_DUE, PROBE_LOST]),
)
def test_fewer_than_the_slots_are_permitted_only_for_a_reason(
    rate: float, tokens: float, in_flight: int, most: int | None, slots: int, flow: Flow
) -> None:
    limits = Limits(rate_per_second=rate, burst=50, max_concurrency=most)

    found = _permit(replace(flow, tokens=tokens, tokens_at=NOW), limits, in_flight=in_flight, slots=slots)

    assert 0 <= found.count <= slots
    assert found.count == slots or found.wait is not None
    assert most is None or found.count <= max(0, most - in_flight)
    assert not found.probe or found.count == 1
    assert found.until is None or found.until >= NOW
