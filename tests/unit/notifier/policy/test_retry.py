from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.classify import Judgement, Outcome
from notifier.policy.retry import (
    DEFAULT_MAX_ATTEMPTS,
    MAX_ATTEMPTS,
    MAX_DELAY_SECONDS,
    Backoff,
    Dead,
    DeadReason,
    Decision,
    Jitter,
    RetryAt,
    RetryPolicy,
    Schedule,
    Succeeded,
    decide,
    delay,
    delay_range,
    parse_retry_after,
)
from tests.unit.cases import case

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
ALMOST_ONE = 1 - 2**-53  # the largest number that random.random() gives
FAILED = Judgement(Outcome.TEMPORARY, "http_503", "The partner answered 503.")


def _decide(
    judgement: Judgement = FAILED,
    *,
    policy: RetryPolicy | None = None,
    attempts_used: int = 1,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    retry_after: timedelta | None = None,
    random: float = 0.5,
) -> Decision:
    return decide(
        judgement,
        policy=policy or Backoff(),
        attempts_used=attempts_used,
        max_attempts=max_attempts,
        retry_after=retry_after,
        now=NOW,
        random=lambda: random,
    )


def _waits(policy: RetryPolicy, *, max_attempts: int, random: float = 0.5) -> list[float]:
    """The waits in seconds of a task that fails until it is dead, which must be on its last attempt."""
    waits = []
    for attempts_used in itertools.count(1):
        match _decide(policy=policy, attempts_used=attempts_used, max_attempts=max_attempts, random=random):
            case RetryAt(at):
                waits.append((at - NOW).total_seconds())
            case decision:
                assert decision == Dead(DeadReason.EXHAUSTED)
                assert attempts_used == max_attempts
                return waits
    raise AssertionError("unreachable: the count has no end")


DEFAULTS = [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]


@pytest.mark.parametrize(
    ("policy", "max_attempts", "longest"),
    [
        case(Backoff(), DEFAULT_MAX_ATTEMPTS, DEFAULTS, id="defaults"),
        case(
            Backoff(base_seconds=1, max_seconds=3600), 10, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            id="from-1-s-to-1-h-in-10",
        ),
        case(
            Backoff(base_seconds=1, max_seconds=3600), 15,
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 3600.0, 3600.0],
            id="from-1-s-to-1-h-until-the-cap",
        ),
        case(Backoff(base_seconds=300, max_seconds=1800), 5, [300.0, 600.0, 1200.0, 1800.0], id="from-5-min-to-30-min-in-5"),
        case(Backoff(base_seconds=2, factor=3, max_seconds=100), 6, [2.0, 6.0, 18.0, 54.0, 100.0], id="factor-3"),
        case(Backoff(base_seconds=7, factor=1), 4, [7.0, 7.0, 7.0], id="factor-1-is-constant"),
        case(Backoff(base_seconds=0), 4, [0.0, 0.0, 0.0], id="at-once"),
        case(Backoff(base_seconds=60, max_seconds=10), 3, [10.0, 10.0], id="cap-below-base"),
        case(Backoff(), 1, [], id="one-attempt-only"),
    ],
)  # fmt: skip
def test_backoff(policy: Backoff, max_attempts: int, longest: list[float]) -> None:
    exact = Backoff(
        base_seconds=policy.base_seconds, factor=policy.factor, max_seconds=policy.max_seconds, jitter=Jitter.NONE
    )

    assert _waits(exact, max_attempts=max_attempts) == longest
    assert _waits(policy, max_attempts=max_attempts, random=0.0) == [0.0] * len(longest)
    assert _waits(policy, max_attempts=max_attempts, random=0.5) == [wait / 2 for wait in longest]
    assert [delay_range(policy, failures) for failures in range(1, max_attempts)] == [(0.0, wait) for wait in longest]


def test_what_is_stored_and_documented_is_stable() -> None:
    assert [reason.value for reason in DeadReason] == ["exhausted", "rejected", "expired", "cancelled", "blocked"]
    assert [jitter.value for jitter in Jitter] == ["full", "none"]
    assert (DEFAULT_MAX_ATTEMPTS, MAX_ATTEMPTS) == (10, 100)
    assert timedelta(seconds=MAX_DELAY_SECONDS) == timedelta(days=30)


def test_the_defaults_give_up_after_three_hours_at_most() -> None:
    assert timedelta(seconds=sum(DEFAULTS)) == timedelta(hours=3, minutes=3, seconds=30)


@pytest.mark.parametrize(
    ("seconds", "max_attempts", "waits"),
    [
        case((5.0, 25.0, 125.0), 4, [5.0, 25.0, 125.0], id="one-step-a-failure"),
        case((5.0, 25.0, 125.0), 6, [5.0, 25.0, 125.0, 125.0, 125.0], id="the-last-step-repeats"),
        case((5.0, 25.0, 125.0), 2, [5.0], id="longer-than-the-attempts"),
        case((60.0, 1.0), 4, [60.0, 1.0, 1.0], id="need-not-grow"),
        case((0.0,), 3, [0.0, 0.0], id="at-once"),
    ],
)
@pytest.mark.parametrize("random", [0.0, 0.5, ALMOST_ONE])
def test_schedule_has_no_jitter(
    seconds: tuple[float, ...], max_attempts: int, waits: list[float], random: float
) -> None:
    assert _waits(Schedule(seconds), max_attempts=max_attempts, random=random) == waits


@pytest.mark.parametrize(
    ("random", "wait"),
    [
        case(0.0, timedelta(), id="lowest"),
        case(0.5, timedelta(seconds=15), id="half"),
        case(ALMOST_ONE, timedelta(seconds=30), id="highest"),
    ],
)
def test_full_jitter_spans_from_zero_to_the_backoff(random: float, wait: timedelta) -> None:
    assert delay(Backoff(), 1, random=lambda: random) == wait


@pytest.mark.parametrize("failures", [1_025, 100_000])
@pytest.mark.parametrize("base_seconds", [30.0, 1e300])
def test_backoff_beyond_the_largest_float_is_the_cap(failures: int, base_seconds: float) -> None:
    policy = Backoff(base_seconds=base_seconds, factor=2.0, max_seconds=3600.0, jitter=Jitter.NONE)

    assert delay_range(policy, failures) == (3600.0, 3600.0)


@given(
    base=st.floats(0, MAX_DELAY_SECONDS),
    factor=st.floats(1, 100),
    cap=st.floats(0, MAX_DELAY_SECONDS),
    failures=st.integers(1, 10_000),
    random=st.floats(0, ALMOST_ONE),
)
def test_a_delay_is_never_negative_nor_above_the_cap(
    base: float, factor: float, cap: float, failures: int, random: float
) -> None:
    policy = Backoff(base_seconds=base, factor=factor, max_seconds=cap)

    wait = delay(policy, failures, random=lambda: random)

    assert timedelta() <= wait <= timedelta(seconds=cap)


def test_an_unknown_kind_of_policy_is_a_programming_error() -> None:
    with pytest.raises(AssertionError):
        delay_range("soon", 1)  # type: ignore[arg-type]  # what the type checker would refuse


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        case("1", timedelta(seconds=1), id="second"),
        case("120", timedelta(seconds=120), id="seconds"),
        case(" 120\t", timedelta(seconds=120), id="blanks-around"),
        case("007", timedelta(seconds=7), id="leading-zeros"),
        case("86399", timedelta(seconds=86_399), id="just-less-than-a-day"),
        case("86400", DAY, id="a-day"),
        case("86401", DAY, id="above-a-day"),
        case("9999999999", DAY, id="ten-digits"),
        case("99999999999", DAY, id="eleven-digits"),
        case("9" * 10_000, DAY, id="ten-thousand-digits"),
        case("Sun, 01 Mar 2026 12:05:00 GMT", timedelta(minutes=5), id="imf-fixdate"),
        case("Sunday, 01-Mar-26 12:05:00 GMT", timedelta(minutes=5), id="rfc-850"),
        case("Sun Mar  1 12:05:00 2026", timedelta(minutes=5), id="asctime-is-utc"),
        case("Sun, 01 Mar 2026 14:05:00 +0200", timedelta(minutes=5), id="with-an-offset"),
        case("Sun, 01 Mar 2026 12:05:00 -0000", timedelta(minutes=5), id="unknown-offset-is-utc"),
        case("Sun, 01 Mar 2026 12:05:00", timedelta(minutes=5), id="no-zone-is-utc"),
        case("Wrong, 01 Mar 2026 12:00:01 GMT", timedelta(seconds=1), id="wrong-weekday"),
        case("Fri, 31 Dec 9999 23:59:59 GMT", DAY, id="end-of-time"),
    ],
)
def test_retry_after_is_read(value: str, wait: timedelta) -> None:
    assert parse_retry_after(value, now=NOW, cap=DAY) == wait


@pytest.mark.parametrize(
    "value",
    [
        case(None, id="absent"),
        case("", id="empty"),
        case("   ", id="blanks"),
        case("0", id="zero"),
        case("-1", id="negative"),
        case("+5", id="signed"),
        case("1.5", id="fraction"),
        case("1e3", id="exponent"),
        case("1_000", id="underscore"),
        case("0x10", id="hexadecimal"),
        case("12 s", id="unit"),
        case("120, 240", id="list"),
        case("١٢٠", id="arabic-digits"),
        case("１２０", id="full-width-digits"),
        case("²", id="superscript"),
        case("soon", id="word"),
        case("\x00", id="control"),
        case(",", id="comma"),
        case("Sun, 01 Mar 2026 12:00:00 GMT", id="now"),
        case("Sun, 01 Mar 2026 11:59:59 GMT", id="past"),
        case("Sun, 06 Nov 1994 08:49:37 GMT", id="long-past"),
        case("Mon, 01 Jan 0001 00:00:00 GMT", id="beginning-of-time"),
        case("Sun, 30 Feb 2027 12:00:00 GMT", id="no-such-day"),
        case("Sun, 01 Foo 2027 12:00:00 GMT", id="no-such-month"),
        case("Sun, 01 Mar 2027 25:00:00 GMT", id="no-such-hour"),
        case("Sun, 01 Mar 99999 12:00:00 GMT", id="no-such-year"),
        case("Sun, 01 Mar 2027 12:00:00 +9999", id="no-such-offset"),
        case("2027-03-01T12:00:00Z", id="iso-8601"),
    ],
)
def test_retry_after_that_says_nothing_usable_is_no_wait(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW, cap=DAY) is None


_DATE_LIKE = st.builds(
    "{}{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["", " "]),
    st.sampled_from(["Sun", "Sunday", "", "x"]),
    st.integers(-1, 99),
    st.sampled_from(["Mar", "March", "Dec", "foo", ""]),
    st.integers(-1, 100_000),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.one_of(st.sampled_from(["GMT", "UTC", "EST", "", "Z"]), st.integers(-99_999_999, 99_999_999).map(str)),
)


@given(st.one_of(st.text(), _DATE_LIKE, st.integers().map(str), st.text("0123456789:/-+,. GMTadeSun\x00", max_size=40)))
def test_whatever_retry_after_holds_it_is_a_wait_of_at_most_a_day_or_none(value: str) -> None:
    wait = parse_retry_after(value, now=NOW, cap=DAY)

    assert wait is None or timedelta() < wait <= DAY


@pytest.mark.parametrize(
    ("judgement", "decision"),
    [
        case(Judgement(Outcome.SUCCEEDED), Succeeded(), id="succeeded"),
        case(Judgement(Outcome.PERMANENT, "http_422", "no"), Dead(DeadReason.REJECTED), id="permanent"),
        case(Judgement(Outcome.REFUSED, "address_blocked", "no"), Dead(DeadReason.BLOCKED), id="refused"),
        case(FAILED, RetryAt(NOW + timedelta(seconds=15)), id="temporary"),
    ],
)
@pytest.mark.parametrize("retry_after", [None, timedelta(seconds=10)], ids=["", "short-retry-after"])
def test_the_outcome_decides(judgement: Judgement, decision: Decision, retry_after: timedelta | None) -> None:
    assert _decide(judgement, retry_after=retry_after) == decision


@pytest.mark.parametrize(
    ("judgement", "decision"),
    [
        case(Judgement(Outcome.SUCCEEDED), Succeeded(), id="succeeded"),
        case(Judgement(Outcome.PERMANENT, "http_422", "no"), Dead(DeadReason.REJECTED), id="permanent"),
        case(Judgement(Outcome.REFUSED, "address_blocked", "no"), Dead(DeadReason.BLOCKED), id="refused"),
        case(FAILED, Dead(DeadReason.EXHAUSTED), id="temporary"),
    ],
)
@pytest.mark.parametrize("attempts_used", [10, 11], ids=["last", "beyond-the-last"])
def test_only_a_temporary_failure_exhausts(judgement: Judgement, decision: Decision, attempts_used: int) -> None:
    assert _decide(judgement, attempts_used=attempts_used, retry_after=timedelta(hours=1)) == decision


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        case(None, 15, id="none"),
        case(timedelta(seconds=14), 15, id="shorter-than-the-backoff"),
        case(timedelta(seconds=16), 16, id="longer-than-the-backoff"),
        case(timedelta(hours=24), 86_400, id="longer-than-the-cap-of-the-backoff"),
    ],
)
def test_retry_after_is_never_undercut(retry_after: timedelta | None, wait: int) -> None:
    assert _decide(retry_after=retry_after) == RetryAt(NOW + timedelta(seconds=wait))


def test_an_unknown_outcome_is_a_programming_error() -> None:
    with pytest.raises(AssertionError):
        _decide(Judgement("perhaps"))  # type: ignore[arg-type]  # what the type checker would refuse
