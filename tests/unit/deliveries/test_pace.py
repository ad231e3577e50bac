"""Pace: who stands back, for how long, and how far."""

from __future__ import annotations

from deliveries.pace import (
    MOST_DOUBLINGS,
    PACE_SECONDS,
    PACED_ROWS,
    PATIENCE_SECONDS,
    STAND_BACK_SECONDS,
    Pace,
)


def _beside(pace: Pace, *, now: float, more: bool = True) -> None:
    """One turn of those on time, and one of those behind."""
    pace.served(on_time=["healthy"], behind=[], now=now)
    pace.claimed(1)
    pace.served(on_time=[], behind=["flood"], now=now)
    pace.paused(more=more, now=now)


def test_a_partner_is_what_its_last_claim_was() -> None:
    pace = Pace()
    assert not pace.is_on_time("a")

    pace.served(on_time=["a", "b"], behind=[], now=0)
    assert pace.is_on_time("a")

    pace.served(on_time=[], behind=["a"], now=0)
    assert (pace.is_on_time("a"), pace.is_on_time("b")) == (False, True)


def test_those_behind_stand_back_for_a_second_after_others_were_served_on_time() -> None:
    pace = Pace()
    assert not pace.stands_back(0)

    pace.served(on_time=["a"], behind=[], now=10)

    assert pace.stands_back(10 + STAND_BACK_SECONDS / 2)
    assert not pace.stands_back(10 + STAND_BACK_SECONDS)


def test_between_their_turns_is_a_pause_but_not_where_nobody_is_on_time() -> None:
    pace = Pace()
    pace.paused(more=True, now=10)
    assert pace.opens_at(10) == 10

    _beside(pace, now=20)

    assert pace.opens_at(20) == 20 + PACE_SECONDS


def _flooded(pace: Pace, *, seconds: float, begun: float = 0.0) -> float:
    """Full turns for so long, two a second; when they end."""
    for tick in range(int(seconds * 2) + 1):
        _beside(pace, now=begun + tick / 2)
    return begun + seconds


def test_beside_long_turns_of_those_on_time_others_have_as_many_rows() -> None:
    pace = Pace()
    pace.claimed(PACED_ROWS - 1)
    assert pace.rows(0) == PACED_ROWS

    pace.claimed(10 * PACED_ROWS)

    assert pace.rows(0) == 10 * PACED_ROWS


def test_a_long_turn_counts_for_less_with_each_one_that_follows() -> None:
    pace = Pace()
    pace.claimed(10 * PACED_ROWS)

    pace.claimed(0)
    assert pace.rows(0) == 10 * PACED_ROWS
    pace.claimed(1)
    assert PACED_ROWS < pace.rows(0) < 10 * PACED_ROWS
    for _ in range(50):
        pace.claimed(1)

    assert pace.rows(0) == PACED_ROWS


def test_turns_of_which_more_is_left_are_doubled_each_time_patience_ends() -> None:
    pace = Pace()
    for times in range(1, MOST_DOUBLINGS + 3):
        now = _flooded(pace, seconds=PATIENCE_SECONDS, begun=(times - 1) * PATIENCE_SECONDS)
        assert pace.rows(now) == PACED_ROWS << min(times, MOST_DOUBLINGS)


def test_a_turn_of_which_nothing_is_left_ends_the_doubling() -> None:
    pace = Pace()
    now = _flooded(pace, seconds=PATIENCE_SECONDS)
    assert pace.rows(now) == 2 * PACED_ROWS

    _beside(pace, now=now, more=False)

    assert pace.rows(now) == PACED_ROWS


def test_a_flood_that_comes_later_begins_anew() -> None:
    pace = Pace()
    now = _flooded(pace, seconds=PATIENCE_SECONDS)

    assert pace.rows(now + 2 * STAND_BACK_SECONDS) == PACED_ROWS
    later = _flooded(pace, seconds=PATIENCE_SECONDS / 2, begun=now + PATIENCE_SECONDS)
    assert pace.rows(later) == PACED_ROWS


def test_what_a_flood_had_with_nobody_beside_it_does_not_count() -> None:
    pace = Pace()
    for second in range(600):
        pace.served(on_time=[], behind=["flood"], now=second)
        pace.paused(more=True, now=second)

    pace.served(on_time=["healthy"], behind=[], now=600)

    assert pace.rows(600) == PACED_ROWS
