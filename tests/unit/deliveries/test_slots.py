from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries.slots import PROMPT_SECONDS, SLOW_SHARE, Slots
from tests.unit.cases import case

QUICKLY = 0.01
SLOWLY = PROMPT_SECONDS * 2


class Clock:
    """Slots, and the time that their caller would give."""

    def __init__(self, total: int) -> None:
        self.slots = Slots(total)
        self.now = 1000.0

    def occupy(self, partner_id: str, count: int) -> None:
        self.slots.occupy(partner_id, count, self.now)

    def answer(self, *partner_ids: str, seconds: float = QUICKLY) -> None:
        """A request each of these partners came back after so long."""
        for partner_id in partner_ids:
            self.occupy(partner_id, 1)
            self.slots.release(partner_id, seconds, self.now)

    def shares(
        self,
        partner_ids: Iterable[str],
        *,
        prompt: bool,
        most: int = 10_000,
        limit: int = 1000,
        enough: float = math.inf,
    ) -> dict[str, int]:
        return self.slots.shares(partner_ids, limit=limit, most=most, enough=enough, prompt=prompt, now=self.now)

    def is_prompt(self, partner_id: str) -> bool:
        return self.slots.is_prompt(partner_id, self.now)


def test_slots_are_counted() -> None:
    clock = Clock(10)

    clock.occupy("a", 3)
    clock.occupy("a", 1)
    clock.occupy("b", 2)
    assert clock.slots.free == 4
    clock.slots.release("a", QUICKLY, clock.now)
    clock.slots.give_back("a", 3)
    assert clock.slots.free == 8
    clock.slots.give_back("b", 2)
    assert clock.slots.free == 10


@pytest.mark.parametrize("prompt", [True, False])
def test_one_partner_alone_never_holds_all_slots_however_often_it_asks(prompt: bool) -> None:
    clock = Clock(1500)
    clock.answer("greedy", seconds=QUICKLY if prompt else SLOWLY)
    for _ in range(20):
        share = clock.shares(["greedy"], prompt=prompt).get("greedy", 0)
        if share:
            clock.occupy("greedy", share)

    held = 1500 - clock.slots.free
    # 2/3 of all for one that answers, 1/2 of the slow ones' half for one that does not.
    assert held == (1000 if prompt else 375)


def test_fifty_greedy_partners_leave_room_for_the_next_one() -> None:
    clock = Clock(1500)
    greedy = [f"greedy-{number}" for number in range(50)]
    clock.answer(*greedy, "next")
    for _ in range(100):
        # A turn's 400 rows are shared out among those who have one.
        for partner_id, share in clock.shares(greedy, prompt=True, most=400 // 50).items():
            clock.occupy(partner_id, share)

    assert 10 <= clock.slots.free <= 20
    assert clock.shares(["next"], prompt=True)["next"] >= 6


@pytest.mark.parametrize("count", [1, 50, 1000])
def test_the_slow_and_unproven_never_hold_more_than_their_part(count: int) -> None:
    clock = Clock(1500)
    black_holes = [f"hole-{number}" for number in range(count)]
    for _ in range(50):
        for partner_id, share in clock.shares(black_holes, prompt=False).items():
            clock.occupy(partner_id, share)

    assert 1500 - clock.slots.free <= 1500 * SLOW_SHARE
    clock.answer("prompt")
    assert clock.shares(["prompt"], prompt=True)["prompt"] >= 1500 * (1 - SLOW_SHARE) * 2 / 3 - 1


def test_a_partner_that_holds_nothing_gets_one_slot_while_any_is_free() -> None:
    clock = Clock(10)
    clock.answer("a", "b")
    clock.occupy("a", 9)

    assert clock.shares(["a", "b"], prompt=True) == {"b": 1}


def test_a_share_is_bounded_and_goes_to_the_first_that_may_have_one() -> None:
    clock = Clock(1000)
    clock.answer("full")
    clock.occupy("full", 700)

    assert clock.shares(["full", "a", "b", "c"], prompt=True, most=5, limit=2) == {"a": 5, "b": 5}


def test_of_a_turn_that_is_worth_it_nobody_gets_a_small_part() -> None:
    clock = Clock(25)
    clock.answer("a", "b", "c")

    # Of 25, 15 and 5 that are free two thirds each, and ten at most.
    assert clock.shares(["a", "b", "c"], prompt=True, most=10) == {"a": 10, "b": 10, "c": 3}
    assert clock.shares(["a", "b", "c"], prompt=True, most=10, enough=21) == {"a": 10, "b": 10, "c": 3}
    assert clock.shares(["a", "b", "c"], prompt=True, most=10, enough=20) == {"a": 10, "b": 10}


def test_what_others_get_in_the_same_turn_is_not_given_twice() -> None:
    clock = Clock(10)

    def shares(spoken_for: int) -> dict[str, int]:
        return clock.slots.shares(["a"], limit=5, most=9, prompt=False, now=clock.now, spoken_for=spoken_for)

    # It comes off what is free, not off the slow ones' half: that is still theirs.
    assert [shares(0), shares(5), shares(9), shares(10)] == [{"a": 2}, {"a": 2}, {"a": 1}, {}]


@pytest.mark.parametrize(
    ("answers", "prompt"),
    [
        case([], False, id="unproven"),
        case([QUICKLY], True, id="quick"),
        case([PROMPT_SECONDS], True, id="just-in-time"),
        case([SLOWLY], False, id="slow"),
        case([QUICKLY, SLOWLY], False, id="was-quick"),
        case([SLOWLY, QUICKLY], True, id="is-quick-again"),
    ],
)
def test_the_last_answer_decides_who_is_prompt(answers: list[float], prompt: bool) -> None:
    clock = Clock(10)
    for seconds in answers:
        clock.answer("a", seconds=seconds)

    assert clock.is_prompt("a") is prompt


def test_a_partner_that_is_kept_waiting_is_no_longer_prompt_until_something_comes_back_in_time() -> None:
    clock = Clock(100)
    clock.answer("a")
    clock.occupy("a", 10)

    clock.now += PROMPT_SECONDS
    assert clock.is_prompt("a")
    clock.now += 0.001
    assert not clock.is_prompt("a")
    # It holds slots of the slow ones' part now.
    assert clock.slots.slow_free(clock.now) == 40
    clock.slots.release("a", QUICKLY, clock.now)
    assert clock.is_prompt("a")
    assert clock.slots.slow_free(clock.now) == 50


def test_a_slow_answer_among_many_in_flight_is_no_progress() -> None:
    clock = Clock(100)
    clock.answer("a")
    clock.occupy("a", 10)
    clock.now += SLOWLY

    clock.slots.release("a", SLOWLY, clock.now)

    assert not clock.is_prompt("a")


def test_slots_that_were_never_used_say_nothing() -> None:
    clock = Clock(100)
    clock.answer("a")
    clock.occupy("a", 10)
    clock.occupy("b", 10)

    clock.slots.give_back("a", 4)
    clock.slots.give_back("a", 6)
    clock.slots.give_back("b", 10)

    assert (clock.is_prompt("a"), clock.is_prompt("b")) == (True, False)


@settings(database=None, deadline=None, derandomize=True, max_examples=200)
@given(
    total=st.integers(1, 300),
    turns=st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), unique=True, max_size=10),  # who asks
            st.integers(1, 50),  # how much of a turn's rows each may have
            st.lists(st.tuples(st.integers(0, 9), st.sampled_from([QUICKLY, SLOWLY])), max_size=20),  # what comes back
            st.sampled_from([0.0, 0.5, SLOWLY]),  # how long it takes
        ),
        max_size=30,
    ),
)
def test_whatever_comes_no_slot_is_given_twice_and_the_slow_keep_to_their_part(
    total: int, turns: list[tuple[list[int], int, list[tuple[int, float]], float]]
) -> None:
    clock, held = Clock(total), dict.fromkeys((str(number) for number in range(10)), 0)
    for asking, most, answers, seconds in turns:
        names = [str(number) for number in asking]
        prompt = [name for name in names if clock.is_prompt(name)]
        others = [name for name in names if name not in prompt]
        first = clock.shares(prompt, prompt=True, most=most)
        second = clock.slots.shares(
            others, limit=10, most=most, prompt=False, now=clock.now, spoken_for=sum(first.values())
        )
        slow_before = total * SLOW_SHARE - clock.slots.slow_free(clock.now)
        assert all(1 <= share <= most for share in (first | second).values())
        assert sum(first.values()) + sum(second.values()) <= clock.slots.free
        assert not second or slow_before + sum(second.values()) <= max(1, total * SLOW_SHARE)
        for name, share in (first | second).items():
            clock.occupy(name, share)
            held[name] += share
        for number, took in answers:
            if held[name := str(number)]:
                clock.slots.release(name, took, clock.now)
                held[name] -= 1
        clock.now += seconds
        assert clock.slots.free == total - sum(held.values()) >= 0
