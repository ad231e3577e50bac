"""Pace: who stands back, for how long, and how far."""

from __future__ import annotations

from deliveries.pace import MOST_DOUBLINGS, ON_TIME_SECONDS, PACE_SECONDS, PACED_ROWS, PATIENCE_SECONDS, Pace


def _beside(pace: Pace, *, now: float, claims: int = PACED_ROWS) -> None:
    """One turn of those on time and one of those behind."""
    pace.served(on_time=["healthy"], behind=[], claims=1, now=now)
    pace.served(on_time=[], behind=["flood"], claims=claims, now=now)


def test_a_partner_is_what_its_last_claim_was() -> None:
    pace = Pace()
    assert not pace.is_on_time("a")

    pace.served(on_time=["a", "b"], behind=[], claims=2, now=0)
    assert pace.is_on_time("a")

    pace.served(on_time=[], behind=["a"], claims=1, now=0)
    assert (pace.is_on_time("a"), pace.is_on_time("b")) == (False, True)


def test_those_behind_stand_back_for_a_second_after_others_were_served_on_time() -> None:
    pace = Pace()
    assert not pace.stands_back(0)

    pace.served(on_time=["a"], behind=[], claims=1, now=10)

    assert pace.stands_back(10 + ON_TIME_SECONDS / 2)
    assert not pace.stands_back(10 + ON_TIME_SECONDS)


def test_between_their_turns_is_a_pause_but_not_where_nobody_is_on_time() -> None:
    pace = Pace()
    pace.served(on_time=[], behind=["flood"], claims=1, now=10)
    assert pace.opens_at(10) == 10

    _beside(pace, now=20)

    assert pace.opens_at(20) == 20 + PACE_SECONDS


def test_turns_that_stay_full_are_doubled_each_minute() -> None:
    pace = Pace()
    for minute in range(MOST_DOUBLINGS + 3):
        now = minute * PATIENCE_SECONDS
        assert pace.rows(now) == PACED_ROWS << min(minute, MOST_DOUBLINGS)
        _beside(pace, now=now, claims=pace.rows(now))


def test_a_turn_that_is_not_full_ends_the_doubling() -> None:
    pace = Pace()
    _beside(pace, now=0)
    assert pace.rows(PATIENCE_SECONDS) == 2 * PACED_ROWS

    _beside(pace, now=PATIENCE_SECONDS, claims=2 * PACED_ROWS - 1)

    assert pace.rows(2 * PATIENCE_SECONDS) == PACED_ROWS
