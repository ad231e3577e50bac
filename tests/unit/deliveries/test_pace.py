"""Pace: who stands back, for how long, and how far."""

from __future__ import annotations

from deliveries.pace import (
    GROWTH_ROWS,
    MOST_DOUBLINGS,
    MOST_PACED_ROWS,
    PACE_SECONDS,
    PACED_ROWS,
    PATIENCE_SECONDS,
    SHRINKAGE,
    SMALL_TURN,
    STAND_BACK_SECONDS,
    SUFFERING,
    Pace,
)

BEST, BAD = 0.004, 0.004 * SUFFERING * 1.5


def _beside(pace: Pace, *, now: float, more: bool = True, took: float = BEST, claims: int = 1) -> None:
    """One turn of those on time, which took so long, and one of those behind."""
    pace.served(on_time=["healthy"], behind=[], now=now)
    pace.took(took, claims=claims)
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
    """Full turns for so long, two a second, under which those on time suffer; when they end."""
    for tick in range(int(seconds * 2) + 1):
        pace.took(BEST, claims=1)
        _beside(pace, now=begun + tick / 2, took=BAD)
        pace.took(BAD, claims=1)
    return begun + seconds


def _grown(pace: Pace, turns: int, *, took: float = BEST) -> float:
    """So many full turns, and beside them turns of those on time that took so long; the time of the last."""
    for tick in range(turns):
        _beside(pace, now=tick / 10, took=took)
    return (turns - 1) / 10


def test_turns_grow_while_those_on_time_do_not_suffer() -> None:
    pace = Pace()
    assert pace.rows(_grown(pace, 1)) == PACED_ROWS

    pace = Pace()
    assert pace.rows(_grown(pace, 11)) == PACED_ROWS + 10 * GROWTH_ROWS

    pace = Pace()
    assert pace.rows(_grown(pace, MOST_PACED_ROWS)) == MOST_PACED_ROWS


def test_turns_shrink_when_those_on_time_suffer_but_not_below_the_shortest() -> None:
    pace = Pace()
    now = _grown(pace, 50)
    grown = pace.rows(now)

    pace.took(BAD, claims=1)

    assert pace.rows(now) == int(grown * SHRINKAGE)
    for _ in range(100):
        pace.took(BAD, claims=1)
    assert pace.rows(now) == PACED_ROWS


def test_a_turn_that_is_long_because_it_has_much_to_claim_shrinks_nothing() -> None:
    pace = Pace()
    now = _grown(pace, 50)
    grown = pace.rows(now)

    pace.took(BAD, claims=SMALL_TURN + 1)

    assert pace.rows(now) == grown


def test_a_turn_that_claims_nothing_is_nobody_s_best() -> None:
    pace = Pace()
    now = _grown(pace, 50)
    grown = pace.rows(now)
    pace.took(BEST / 10, claims=0)

    pace.took(BEST, claims=1)

    assert pace.rows(now) == grown


def test_what_is_best_is_learned_again_on_a_machine_that_has_become_slower() -> None:
    pace = Pace()
    pace.took(BEST, claims=1)
    for _ in range(1000):
        pace.took(BAD, claims=1)

    assert pace.rows(_grown(pace, 11, took=BAD)) == PACED_ROWS + 10 * GROWTH_ROWS


def test_turns_of_which_more_is_left_are_doubled_each_minute() -> None:
    pace = Pace()
    for minute in range(1, MOST_DOUBLINGS + 3):
        now = _flooded(pace, seconds=PATIENCE_SECONDS, begun=(minute - 1) * PATIENCE_SECONDS)
        assert pace.rows(now) == PACED_ROWS << min(minute, MOST_DOUBLINGS)


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
