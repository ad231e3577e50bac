"""Why a notification stands where it stands: each reason, which of several is told, and the attempts to come."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy import flow
from notifier.policy.circuit import Circuit, State
from notifier.policy.explain import (
    SHOWN_ATTEMPTS,
    Between,
    Ended,
    Explanation,
    Reason,
    Running,
    Task,
    Waiting,
    explain,
)
from notifier.policy.flow import Flow, Limits
from notifier.policy.retry import Backoff, Jitter, RetryPolicy, Schedule
from tests.unit.cases import case

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
# Doubles from 10 s to 60 s.
EXACT = Backoff(base_seconds=10, factor=2, max_seconds=60, jitter=Jitter.NONE)
JITTER = Backoff(base_seconds=10, factor=2, max_seconds=60, jitter=Jitter.FULL)


def _in(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def _waits(*, due_in: float = -1, tried: bool = False, used: int = 0, most: int = 3, **rest: datetime) -> Task:
    return Task(state=Waiting(EARLIER, _in(due_in), tried), attempts_used=used or int(tried), max_attempts=most, **rest)


def _explain(
    task: Task,
    partner: Flow | None = None,
    limits: Limits | None = None,
    *,
    policy: RetryPolicy = EXACT,
    in_flight: int = 0,
) -> Explanation:
    return explain(task, partner or Flow(), limits or Limits(), policy, in_flight=in_flight, now=NOW)


PAUSED = Flow(paused_at=EARLIER)
DISABLED = Flow(enabled=False)
HELD = Flow(hold_until=_in(30), held_at=EARLIER)
OPEN = Flow(circuit=Circuit(state=State.OPEN, since=EARLIER, reason="it failed", probe_at=_in(20)))
OPEN_BY_HAND = Flow(circuit=Circuit(state=State.OPEN, since=EARLIER, reason="opened by an operator"))
PROBE_DUE = Flow(circuit=Circuit(state=State.OPEN, since=EARLIER, reason="it failed", probe_at=_in(-1)))
PROBED = Flow(circuit=Circuit(state=State.HALF_OPEN, since=EARLIER, reason="it failed", probe_at=_in(45)))
# One token every 4 s; half of the next one is there.
SPENT = Flow(tokens=0.5, tokens_at=NOW)
SLOW = Limits(rate_per_second=0.25)
SINGLE = Limits(max_concurrency=1)


def test_the_reasons_are_stable() -> None:
    assert [reason.value for reason in Reason] == [
        "due", "scheduled", "backoff", "retry_after", "rate_limit", "concurrency", "circuit_open", "paused", "in_flight",
        "finished",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("partner", "limits", "in_flight", "reason", "since", "until", "message"),
    [
        case(
            Flow(), Limits(), 0, Reason.DUE, _in(-1), None,
            "It is due, and nothing holds its partner back: a worker takes it in its turn.",
            id="due",
        ),
        case(
            PAUSED, Limits(), 0, Reason.PAUSED, EARLIER, None,
            "Its partner is paused: nothing is sent until it is resumed.",
            id="paused",
        ),
        case(
            DISABLED, Limits(), 0, Reason.PAUSED, None, None,
            "Its partner is disabled: nothing is sent until it is enabled.",
            id="disabled",
        ),
        case(
            replace(DISABLED, paused_at=EARLIER), Limits(), 0, Reason.PAUSED, EARLIER, None,
            "Its partner is disabled: nothing is sent until it is enabled and resumed.",
            id="disabled-and-paused",
        ),
        case(
            HELD, Limits(), 0, Reason.RETRY_AFTER, EARLIER, _in(30),
            "Its partner asked for time (Retry-After): nothing is sent to it before 2026-03-01 12:00:30 UTC.",
            id="held",
        ),
        case(
            OPEN, Limits(), 0, Reason.CIRCUIT_OPEN, EARLIER, _in(20),
            "Its partner's circuit is open (it failed): one notification goes at 2026-03-01 12:00:20 UTC to probe it, "
            "the others wait for the answer.",
            id="circuit-open",
        ),
        case(
            OPEN_BY_HAND, Limits(), 0, Reason.CIRCUIT_OPEN, EARLIER, None,
            "Its partner's circuit is open (opened by an operator): nothing is sent until an operator closes it.",
            id="circuit-open-by-hand",
        ),
        case(
            PROBE_DUE, Limits(), 0, Reason.CIRCUIT_OPEN, EARLIER, None,
            "Its partner's circuit is open (it failed): one notification may go now to probe it, the others wait for the "
            "answer.",
            id="probe-due",
        ),
        case(
            PROBED, Limits(), 0, Reason.CIRCUIT_OPEN, EARLIER, _in(45),
            "Its partner's circuit is half-open (it failed): a probe is on its way; if nothing is heard of it, another one "
            "goes at 2026-03-01 12:00:45 UTC.",
            id="half-open",
        ),
        case(
            Flow(), SINGLE, 1, Reason.CONCURRENCY, _in(-1), None,
            "As many requests to its partner are in flight as may be at once: it goes when one of them ends.",
            id="concurrency",
        ),
        case(
            SPENT, SLOW, 0, Reason.RATE_LIMIT, _in(-1), _in(2),
            "As many requests went to its partner as may in this time: the next one may go at 2026-03-01 12:00:02 UTC.",
            id="rate-limit",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tried", [False, True], ids=["pending", "failed"])
def test_what_is_due_waits_for_its_partner(
    tried: bool,
    partner: Flow,
    limits: Limits,
    in_flight: int,
    reason: Reason,
    since: datetime | None,
    until: datetime | None,
    message: str,
) -> None:
    answer = _explain(_waits(tried=tried), partner, limits, in_flight=in_flight)

    assert (answer.reason, answer.since, answer.until, answer.message) == (reason, since, until, message)
    # Never before the partner lets it go; as if at once, where nobody knows when that is.
    assert answer.next_attempts[0] == Between(until or NOW, until or NOW)


@pytest.mark.parametrize(
    ("partner", "limits", "in_flight"),
    [case(Flow(), Limits(), 0, id="due"), case(Flow(), SINGLE, 1, id="concurrency"), case(SPENT, SLOW, 0, id="rate")],
)
def test_nothing_is_due_since_before_it_was_written(partner: Flow, limits: Limits, in_flight: int) -> None:
    answer = _explain(_waits(due_in=-600, tried=True), partner, limits, in_flight=in_flight)

    assert answer.since == EARLIER


@pytest.mark.parametrize(
    ("tried", "reason", "message"),
    [
        (False, Reason.SCHEDULED, "It is to be sent at 2026-03-01 12:01:00 UTC."),
        (True, Reason.BACKOFF, "Its last attempt failed; the next one is due at 2026-03-01 12:01:00 UTC."),
    ],
)
def test_what_is_not_due_waits_for_its_time(tried: bool, reason: Reason, message: str) -> None:
    answer = _explain(_waits(due_in=60, tried=tried))

    assert (answer.reason, answer.since, answer.until, answer.message) == (reason, EARLIER, _in(60), message)
    assert answer.next_attempts[0] == Between(_in(60), _in(60))


@pytest.mark.parametrize(
    ("due_in", "partner", "limits", "in_flight", "reason", "until"),
    [
        case(29, HELD, Limits(), 0, Reason.RETRY_AFTER, _in(30), id="hold-is-longer"),
        case(30, HELD, Limits(), 0, Reason.RETRY_AFTER, _in(30), id="its-own-wait-came-from-the-hold"),
        case(31, HELD, Limits(), 0, Reason.BACKOFF, _in(31), id="backoff-outlasts-the-hold"),
        case(19, OPEN, Limits(), 0, Reason.CIRCUIT_OPEN, _in(20), id="circuit-is-longer"),
        case(21, OPEN, Limits(), 0, Reason.BACKOFF, _in(21), id="backoff-outlasts-the-circuit"),
        case(1, PROBE_DUE, Limits(), 0, Reason.BACKOFF, _in(1), id="backoff-outlasts-a-probe-that-is-due"),
        case(1, SPENT, SLOW, 0, Reason.RATE_LIMIT, _in(2), id="rate-limit-is-longer"),
        case(3, SPENT, SLOW, 0, Reason.BACKOFF, _in(3), id="backoff-outlasts-the-rate-limit"),
        case(1, Flow(), SINGLE, 1, Reason.BACKOFF, _in(1), id="a-request-in-flight-may-end-at-any-moment"),
        case(10**8, PAUSED, Limits(), 0, Reason.PAUSED, None, id="nothing-outlasts-a-pause"),
        case(10**8, DISABLED, Limits(), 0, Reason.PAUSED, None, id="nothing-outlasts-disabling"),
        case(10**8, OPEN_BY_HAND, Limits(), 0, Reason.CIRCUIT_OPEN, None, id="nothing-outlasts-an-operators-word"),
    ],
)
def test_of_two_waits_the_longer_one_is_told(
    due_in: float, partner: Flow, limits: Limits, in_flight: int, reason: Reason, until: datetime | None
) -> None:
    answer = _explain(_waits(due_in=due_in, tried=True), partner, limits, in_flight=in_flight)

    assert (answer.reason, answer.until) == (reason, until)
    assert answer.next_attempts[0].earliest == (until or _in(due_in))


def test_the_partners_waits_are_told_in_the_order_in_which_the_claim_asks() -> None:
    everything = replace(HELD, paused_at=EARLIER, circuit=OPEN.circuit, tokens=0.0, tokens_at=NOW)
    limits = Limits(rate_per_second=1, max_concurrency=1)

    def reason(partner: Flow) -> Reason:
        return _explain(_waits(), partner, limits, in_flight=1).reason

    assert reason(everything) is Reason.PAUSED
    assert reason(replace(everything, paused_at=None)) is Reason.RETRY_AFTER
    assert reason(replace(everything, paused_at=None, hold_until=None)) is Reason.CIRCUIT_OPEN
    assert reason(Flow()) is Reason.CONCURRENCY


@pytest.mark.parametrize("how", ["succeeded", "dead (expired)"])
def test_what_has_ended_waits_for_nothing(how: str) -> None:
    answer = _explain(Task(state=Ended(EARLIER, how), attempts_used=1, max_attempts=3), PAUSED)

    assert answer == Explanation(reason=Reason.FINISHED, message=f"It has ended: {how}.", since=EARLIER)


def test_what_is_in_flight_is_so_whatever_its_partners_state() -> None:
    task = Task(state=Running(EARLIER, _in(60)), attempts_used=1, max_attempts=3)

    answer = _explain(task, PAUSED)

    assert answer == Explanation(
        reason=Reason.IN_FLIGHT,
        message="A worker sends it. Should that worker be lost, it is due again at 2026-03-01 12:01:00 UTC.",
        since=EARLIER,
        until=_in(60),
        # The attempt ends between now and the end of its lease; then 10 s, and 20 s.
        next_attempts=(Between(_in(10), _in(70)), Between(_in(30), _in(90))),
    )


@pytest.mark.parametrize("over", [0, 5])
def test_a_lease_that_ran_out_is_told_so(over: float) -> None:
    task = Task(state=Running(EARLIER, _in(-over)), attempts_used=2, max_attempts=3)

    answer = _explain(task)

    assert (answer.reason, answer.until) == (Reason.IN_FLIGHT, _in(-over))
    assert answer.message == "Its worker was lost: the next sweep closes the attempt."
    assert answer.next_attempts == (Between(_in(20), _in(20)),)


def test_the_last_attempt_in_flight_has_none_after_it() -> None:
    task = Task(state=Running(EARLIER, _in(60)), attempts_used=3, max_attempts=3)

    assert _explain(task).next_attempts == ()


@pytest.mark.parametrize(
    ("policy", "ranges"),
    [
        case(EXACT, [(0, 0), (10, 10), (30, 30), (70, 70), (130, 130), (190, 190)], id="backoff-capped-at-60"),
        case(JITTER, [(0, 0), (0, 10), (0, 30), (0, 70), (0, 130), (0, 190)], id="full-jitter"),
        case(Schedule((5, 1)), [(0, 0), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)], id="the-last-step-repeats"),
        case(Schedule((0,)), [(0, 0)] * 6, id="at-once"),
    ],
)
def test_the_attempts_to_come_are_the_policys(policy: RetryPolicy, ranges: list[tuple[float, float]]) -> None:
    answer = _explain(_waits(most=6), policy=policy)

    assert answer.next_attempts == tuple(Between(_in(low), _in(high)) for low, high in ranges)


def test_they_go_on_from_what_was_used_of_the_budget() -> None:
    answer = _explain(_waits(tried=True, used=2, most=5))

    # After the third failure 40 s, after the fourth 60.
    assert answer.next_attempts == tuple(Between(_in(at), _in(at)) for at in (0, 40, 100))


@pytest.mark.parametrize(
    ("used", "most", "count"),
    [(0, 1, 1), (1, 2, 1), (0, 9, 9), (0, 10, 10), (0, 11, SHOWN_ATTEMPTS), (5, 100, SHOWN_ATTEMPTS), (3, 3, 0)],
)
def test_they_are_as_many_as_the_budget_has_and_no_more_than_ten(used: int, most: int, count: int) -> None:
    assert len(_explain(_waits(tried=used > 0, used=used, most=most)).next_attempts) == count


@pytest.mark.parametrize(
    ("policy", "expires_in", "ranges"),
    [
        case(EXACT, 30, [(0, 0), (10, 10)], id="one-at-its-end-does-not-go"),
        case(EXACT, 30.5, [(0, 0), (10, 10), (30, 30)], id="one-before-its-end-does"),
        case(JITTER, 15, [(0, 0), (0, 10), (0, 15), (0, 15), (0, 15)], id="ranges-are-cut-there"),
    ],
)
def test_none_comes_at_or_after_expires_at(
    policy: RetryPolicy, expires_in: float, ranges: list[tuple[float, float]]
) -> None:
    answer = _explain(_waits(most=5, expires_at=_in(expires_in)), policy=policy)

    assert answer.next_attempts == tuple(Between(_in(low), _in(high)) for low, high in ranges)
    assert "ends it as expired" not in answer.message


@pytest.mark.parametrize(
    ("task", "partner", "sentence"),
    [
        case(
            _waits(expires_at=_in(-1)), Flow(),
            " Its time is over, at 2026-03-01 11:59:59 UTC: then the sweep ends it as expired.",
            id="over",
        ),
        case(
            _waits(expires_at=_in(30)), HELD,
            " Before that its time is over, at 2026-03-01 12:00:30 UTC: then the sweep ends it as expired.",
            id="its-partner-is-held-for-longer",
        ),
        case(
            _waits(due_in=60, expires_at=_in(30)), Flow(),
            " Before that its time is over, at 2026-03-01 12:00:30 UTC: then the sweep ends it as expired.",
            id="due-later-than-that",
        ),
    ],
)  # fmt: skip
def test_it_is_told_where_its_time_ends_before_the_wait(task: Task, partner: Flow, sentence: str) -> None:
    answer = _explain(task, partner)

    assert answer.message.endswith(sentence)
    assert answer.next_attempts == ()


_seconds = st.integers(min_value=-7200_000, max_value=7200_000).map(lambda milliseconds: milliseconds / 1000)
_moments = _seconds.map(_in)
_flows = st.builds(
    Flow,
    enabled=st.booleans(),
    paused_at=st.none() | _moments,
    hold_until=st.none() | _moments,
    circuit=st.builds(Circuit, state=st.sampled_from(State), probe_at=st.none() | _moments),
    tokens=st.none() | st.floats(min_value=-10, max_value=10),
    tokens_at=st.none() | _moments,
)
_limits = st.builds(
    Limits,
    rate_per_second=st.none() | st.floats(min_value=0.01, max_value=1000),
    max_concurrency=st.none() | st.integers(min_value=1, max_value=5),
)


@given(partner=_flows, limits=_limits, in_flight=st.integers(0, 6), due_in=_seconds, tried=st.booleans())
def test_due_is_what_the_claim_would_take(
    partner: Flow, limits: Limits, in_flight: int, due_in: float, tried: bool
) -> None:
    """The claim asks the same function: never "due" for what it would leave, never a wait for what it would take."""
    answer = _explain(_waits(due_in=due_in, tried=tried), partner, limits, in_flight=in_flight)

    permit = flow.permit(partner, limits, in_flight=in_flight, slots=1, now=NOW)
    may_go = permit.count == 1 and due_in <= 0
    assert (answer.reason is Reason.DUE) == (may_go and not permit.probe)
    if not may_go and answer.until is not None:
        assert answer.until >= NOW
    earliest = [attempt.earliest for attempt in answer.next_attempts]
    assert earliest == sorted(earliest)
    assert all(NOW <= attempt.earliest <= attempt.latest for attempt in answer.next_attempts)
