from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import pytest

from deliveries.pace import PACE_SECONDS, PACED_ROWS, PATIENCE_SECONDS
from deliveries.slots import PROMPT_SECONDS
from deliveries.woken import FREE_WITHIN_SECONDS, OTHERS_BESIDE, Lane, Woken

QUICKLY = 0.01
SLOWLY = PROMPT_SECONDS * 2


def _take(woken: Woken, most_partners: int = 100, *, timeout: float = 0) -> list[str]:
    """Whose turn it is, in order."""
    return list(woken.take(Lane.BEHIND, most_partners, most_rows=200, timeout=timeout))


def _answer(woken: Woken, partner_ids: Iterable[str], seconds: float = QUICKLY) -> None:
    """One request each of these partners came back after so long."""
    for partner_id in partner_ids:
        woken.occupy({partner_id: 1})
        woken.release([(partner_id, seconds)])


def test_partners_get_their_turns_in_the_order_of_their_wakes_and_once() -> None:
    woken = Woken(slots=10)
    woken.wake(["a", "b"])
    woken.wake(["b", "c", "a"])

    assert _take(woken, 2) == ["a", "b"]
    assert _take(woken, 2) == ["c"]
    assert _take(woken, 2) == []


def test_a_partner_that_was_taken_can_be_woken_again() -> None:
    woken = Woken(slots=10)
    woken.wake(["a"])
    _take(woken)

    woken.wake(["a"])

    assert _take(woken) == ["a"]


def test_who_had_a_turn_since_a_sweep_began_gets_none_by_what_it_found() -> None:
    """What it found is claimed; a row that was committed since then has a wake of its own."""
    now = 0.0
    woken = Woken(slots=10, now=lambda: now, shuffle=list.sort)
    woken.wake(["before", "since"])
    assert _take(woken, 1) == ["before"]
    now = 1.0
    assert _take(woken, 1) == ["since"]

    woken.swept(["before", "since"], begun=0.5)
    assert _take(woken) == ["before"]

    woken.swept(["before", "since"], begun=1.5)
    assert _take(woken) == ["before", "since"]


def test_whom_sweeps_find_has_its_turn_in_an_order_of_each_workers_own() -> None:
    """In the same order two workers would meet at each partner, and one of them for nothing."""
    partners = [str(number) for number in range(100)]
    one, another = Woken(slots=10_000), Woken(slots=10_000)
    for woken in (one, another):
        woken.swept(partners, begun=0.0)

    orders = [_take(woken) for woken in (one, another)]

    assert sorted(orders[0]) == sorted(orders[1]) == sorted(partners)
    assert orders[0] != orders[1]


def test_a_sweep_tells_whom_it_found_first() -> None:
    woken = Woken(slots=10)
    woken.wake(["known"])

    assert woken.swept(["known", "new"], begun=0.0) == ["new"]
    assert woken.swept(["known", "new"], begun=0.0) == []


def test_whom_a_sweep_did_not_find_has_no_turn_unless_it_was_woken_since() -> None:
    """Another worker was faster. What was committed after the sweep looked has a wake of its own, which came after it began."""
    now = 0.0
    woken = Woken(slots=10, now=lambda: now)
    woken.wake(["drained", "due", "again"])
    now = 1.0
    woken.wake(["again", "new"])

    woken.swept(["found", "due"], begun=0.5)

    assert _take(woken) == ["due", "again", "new", "found"]


def test_a_sweep_takes_nobodys_later_turn() -> None:
    now = 0.0
    woken = Woken(slots=10, now=lambda: now)
    woken.wake_later(["a"], 5)

    woken.swept([], begun=1.0)

    assert _take(woken) == []
    now = 5.0
    assert _take(woken) == ["a"]


def test_who_is_woken_again_after_it_became_prompt_keeps_what_a_sweep_must_know() -> None:
    """It goes to the other part of the line with the time of its wake."""
    now = 0.0
    woken = Woken(slots=10, now=lambda: now)
    woken.wake(["a"])
    now = 1.0
    woken.wake(["a"])
    _answer(woken, ["a"])
    woken.occupy({"b": 10})
    assert _take(woken) == []
    woken.release([("b", QUICKLY)] * 10)

    woken.swept([], begun=0.5)

    assert _take(woken) == ["a"]


def test_the_patience_of_those_behind_is_also_that_of_others_who_wait_in_line() -> None:
    now = 0.0
    woken = Woken(slots=1000, now=lambda: now)
    _answer(woken, ["a", "b"])

    def turns_until(end: float) -> dict[str, int]:
        """One each half second, of one partner at a time; the last one."""
        nonlocal now
        turn: dict[str, int] = {}
        while now < end:
            now += 0.5
            woken.wake(["a", "b"])
            woken.served(Lane.ON_TIME, on_time=["healthy"], behind=[], more=False)
            turn = woken.take(Lane.BEHIND, 1, most_rows=200, timeout=5)
            woken.served(Lane.BEHIND, on_time=[], behind=turn.keys(), more=False)
        return turn

    assert list(turns_until(PATIENCE_SECONDS / 2).values()) == [PACED_ROWS]
    assert list(turns_until(PATIENCE_SECONDS + 1).values()) == [2 * PACED_ROWS]


def test_nobody_gets_a_turn_without_a_free_slot() -> None:
    woken = Woken(slots=2)
    woken.wake(["a"])
    woken.occupy({"b": 2})

    assert _take(woken) == []
    woken.release([("b", QUICKLY), ("b", QUICKLY)])
    assert _take(woken) == ["a"]
    assert woken.free == 2


def test_slots_that_were_not_used_are_free_again() -> None:
    woken = Woken(slots=2)
    woken.wake(["a"])
    woken.occupy({"b": 2})

    woken.give_back({"b": 2})

    assert (woken.free, _take(woken)) == (2, ["a"])


def test_a_later_wake_comes_when_its_time_has_come() -> None:
    woken = Woken(slots=1)
    begun = time.monotonic()
    woken.wake_later(["b"], 0.05)
    woken.wake_later(["a"], 0.02)

    assert _take(woken, timeout=5) == ["a"]
    assert _take(woken, timeout=5) == ["b"]
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("calls", [(0.0, 0.02), (0.02, 0.0)], ids=["the later one last", "the sooner one last"])
def test_of_several_later_wakes_the_soonest_counts_and_the_others_do_not_ring(calls: tuple[float, float]) -> None:
    woken = Woken(slots=10)
    for seconds in calls:
        woken.wake_later(["a"], seconds)

    assert _take(woken) == ["a"]
    assert _take(woken, timeout=0.05) == []


def test_a_later_wake_asked_for_a_thousand_times_is_one() -> None:
    woken = Woken(slots=10)
    for _ in range(1000):
        woken.wake_later(["a"], 30)

    assert len(woken._later) == 1


def test_a_partner_that_waits_for_a_slot_of_its_own_is_woken_by_that_once() -> None:
    woken = Woken(slots=10)
    woken.occupy({"a": 2, "b": 1})
    woken.wake_on_release(["a"])

    woken.release([("b", QUICKLY)])
    assert _take(woken) == []
    woken.release([("a", QUICKLY)])
    assert _take(woken) == ["a"]
    woken.release([("a", QUICKLY)])
    assert _take(woken) == []


def test_prompt_partners_come_first() -> None:
    woken = Woken(slots=100)
    _answer(woken, ["slow"], SLOWLY)
    _answer(woken, ["prompt"])

    woken.wake(["slow", "unproven", "prompt"])

    assert _take(woken) == ["prompt", "slow", "unproven"]


def test_a_thousand_others_do_not_make_a_prompt_partners_turn_long() -> None:
    woken = Woken(slots=10_000)
    _answer(woken, ["prompt"])
    others = [f"other-{number}" for number in range(1000)]
    woken.wake(others)
    woken.wake(["prompt"])

    assert _take(woken, 100) == ["prompt", *others[:OTHERS_BESIDE]]
    # Without a prompt one the turn is all theirs.
    assert _take(woken, 100) == others[OTHERS_BESIDE : OTHERS_BESIDE + 100]


def test_a_partner_that_changed_its_kind_while_it_waited_changes_its_line() -> None:
    woken = Woken(slots=100)
    woken.wake(["first", "second"])
    _answer(woken, ["second"])

    assert _take(woken) == ["second", "first"]


def test_who_holds_its_share_takes_no_turn_and_stays() -> None:
    woken = Woken(slots=12)
    # Slow ones share six slots; with half of them held it may have no more.
    woken.occupy({"greedy": 3})
    woken.wake(["greedy", "next"])

    assert _take(woken) == ["next"]
    woken.release([("greedy", SLOWLY), ("greedy", SLOWLY)])
    assert _take(woken) == ["greedy"]


def test_each_partner_of_a_turn_gets_its_part_of_the_rows() -> None:
    woken = Woken(slots=1000)
    _answer(woken, "abcd")
    woken.wake("abcd")

    assert woken.take(Lane.BEHIND, 100, most_rows=20, timeout=0) == dict.fromkeys("abcd", 5)


def test_those_on_time_have_a_line_of_their_own() -> None:
    woken = Woken(slots=1000)
    woken.served(Lane.BEHIND, on_time=["healthy"], behind=["flood"], more=True)
    woken.wake(["flood", "healthy", "new"])

    assert list(woken.take(Lane.ON_TIME, 100, most_rows=200, timeout=0)) == ["healthy"]
    woken.served(Lane.BEHIND, on_time=[], behind=["healthy"], more=True)
    woken.wake(["healthy"])
    assert woken.take(Lane.ON_TIME, 100, most_rows=200, timeout=0) == {}
    assert _take(woken, timeout=5) == ["flood", "new", "healthy"]


def test_those_behind_wait_for_their_pause_beside_others_and_get_a_short_turn() -> None:
    woken = Woken(slots=1000)
    _answer(woken, ["flood"])
    woken.served(Lane.BEHIND, on_time=["healthy"], behind=["flood"], more=True)
    woken.wake(["flood"])

    begun = time.monotonic()
    assert _take(woken) == []
    assert woken.take(Lane.BEHIND, 100, most_rows=200, timeout=5) == {"flood": PACED_ROWS}
    assert time.monotonic() - begun > PACE_SECONDS / 2


def test_with_nobody_on_time_those_behind_have_the_whole_turn() -> None:
    woken = Woken(slots=1000)
    _answer(woken, ["flood"])
    woken.served(Lane.BEHIND, on_time=[], behind=["flood"], more=True)
    woken.wake(["flood"])

    assert woken.take(Lane.BEHIND, 100, most_rows=200, timeout=0) == {"flood": 200}


def test_without_a_slot_two_claimers_sleep() -> None:
    """Neither wakes the other for nothing: the time that both spend is next to none."""
    woken = Woken(slots=2)
    woken.served(Lane.BEHIND, on_time=["healthy"], behind=[], more=True)
    woken.occupy({"slow": 2})
    woken.wake(["flood", "healthy"])
    spent: list[float] = []

    def claimer(lane: Lane) -> None:
        begun = time.thread_time()
        woken.take(lane, 100, most_rows=200, timeout=0.5)
        spent.append(time.thread_time() - begun)

    threads = [threading.Thread(target=claimer, args=(lane,)) for lane in Lane]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(spent) < 0.05


def test_many_backlogs_leave_a_place_for_who_is_not_proven() -> None:
    woken = Woken(slots=1000)
    floods = [f"flood-{number}" for number in range(200)]
    _answer(woken, floods)
    woken.served(Lane.BEHIND, on_time=["healthy"], behind=[], more=True)
    woken.wake([*floods, "new"])

    taken = woken.take(Lane.BEHIND, 100, most_rows=400, timeout=5)

    assert "new" in taken
    assert (len(taken), sum(taken.values())) == (PACED_ROWS, PACED_ROWS)


def test_the_slow_ones_part_is_not_given_twice() -> None:
    woken = Woken(slots=100)
    holes = [f"hole-{number}" for number in range(9)]
    woken.served(Lane.ON_TIME, on_time=holes, behind=[], more=False)
    woken.wake([*holes, "new"])

    first = woken.take(Lane.ON_TIME, 100, most_rows=400, timeout=0)
    assert 45 <= sum(first.values()) <= 50
    second = woken.take(Lane.BEHIND, 100, most_rows=400, timeout=0)

    assert sum(first.values()) + sum(second.values()) <= 50


def test_what_a_turn_did_not_need_is_told_to_the_other_claimer() -> None:
    woken = Woken(slots=10)
    _answer(woken, ["flood", "healthy"])
    woken.served(Lane.ON_TIME, on_time=["healthy"], behind=[], more=False)
    woken.wake(["flood"])
    woken.take(Lane.BEHIND, 100, most_rows=400, timeout=5)
    woken.occupy({"other": 4})
    taken: list[dict[str, int]] = []
    taker = threading.Thread(target=lambda: taken.append(woken.take(Lane.ON_TIME, 100, most_rows=400, timeout=30)))
    woken.wake(["healthy"])
    taker.start()

    woken.occupy({"flood": 1}, lane=Lane.BEHIND)

    taker.join(10)
    assert list(taken[0]) == ["healthy"]


def test_two_turns_at_once_do_not_get_the_same_slots() -> None:
    woken = Woken(slots=10)
    _answer(woken, ["healthy", "flood"])
    woken.served(Lane.BEHIND, on_time=["healthy"], behind=["flood"], more=True)
    woken.wake(["flood", "healthy"])

    flood = woken.take(Lane.BEHIND, 100, most_rows=200, timeout=5)["flood"]
    healthy = woken.take(Lane.ON_TIME, 100, most_rows=200, timeout=0)["healthy"]
    assert flood + healthy <= 10
    # The flood's turn found less than it might have had.
    woken.occupy({"flood": 1}, lane=Lane.BEHIND)
    woken.wake(["healthy"])
    assert woken.take(Lane.ON_TIME, 100, most_rows=200, timeout=0)["healthy"] > healthy


def test_taking_ends_at_its_timeout() -> None:
    woken = Woken(slots=1)
    begun = time.monotonic()

    assert _take(woken, timeout=0.03) == []
    assert time.monotonic() - begun >= 0.03


def test_stop_ends_waiting_and_gives_no_further_turn() -> None:
    woken = Woken(slots=1)
    taken: list[list[str]] = []
    taker = threading.Thread(target=lambda: taken.append(_take(woken, timeout=30)))
    taker.start()

    woken.stop()
    taker.join(5)
    woken.wake(["a"])

    assert taken == [[]]
    assert woken.stopped
    assert _take(woken, timeout=30) == []


def test_waiting_for_releases_ends_when_all_slots_are_free() -> None:
    woken = Woken(slots=2)
    woken.occupy({"a": 2})
    waiter = threading.Thread(target=woken.wait_for_release, args=(30,))
    waiter.start()

    woken.release([("a", 0.01)])
    waiter.join(0.05)
    assert waiter.is_alive()
    woken.release([("a", 0.01)])
    waiter.join(10)

    assert not waiter.is_alive()
    # One that comes after the last release does not wait for another.
    woken.wait_for_release(30)


def test_those_behind_have_their_turn_when_it_is_worth_it() -> None:
    """Under load slots come free by the few, and a turn of a few rows costs as much as one of a hundred."""
    woken = Woken(slots=120, now=lambda: 0.0)
    _answer(woken, ["a", "b"])
    woken.occupy({"b": 101})
    woken.wake(["a"])
    assert _take(woken) == []
    assert woken.take(Lane.ON_TIME, 100, most_rows=200, timeout=0) == {}

    woken.release([("b", QUICKLY)])

    assert _take(woken) == ["a"]


def test_those_who_have_not_answered_wait_for_slots_of_their_part() -> None:
    now = 0.0
    woken = Woken(slots=120, now=lambda: now)
    woken.occupy({"silent": 41})
    woken.wake(["new"])
    assert _take(woken) == []

    now = FREE_WITHIN_SECONDS
    assert _take(woken) == ["new"]


def test_a_turn_of_those_behind_leaves_out_who_would_get_a_small_part() -> None:
    woken = Woken(slots=120)
    woken.wake(["a", "b", "c", "d", "e", "f"])

    # Of the slow ones' 60; the next would get 4, 2 and 1.
    assert woken.take(Lane.BEHIND, 6, most_rows=200, timeout=0) == {"a": 25, "b": 17, "c": 9}


def test_they_do_not_wait_for_more_slots_for_long() -> None:
    """Twenty that have always answered hold nearly all and go silent, or take whatever comes free."""
    now = 0.0
    woken = Woken(slots=1500, now=lambda: now)
    others = [str(number) for number in range(20)]
    _answer(woken, ["a", *others])
    woken.occupy(dict.fromkeys(others, 70))
    woken.wake(["a"])
    assert _take(woken) == []

    now = FREE_WITHIN_SECONDS * 0.9
    woken.release([("1", QUICKLY)])
    woken.occupy({"1": 1}, lane=Lane.ON_TIME)
    assert _take(woken) == []
    now = FREE_WITHIN_SECONDS
    assert _take(woken) == ["a"]

    woken.wake(["a"])
    assert _take(woken) == []


def test_they_are_told_when_they_need_not_wait_any_longer() -> None:
    woken = Woken(slots=120)
    _answer(woken, ["a", "b"])
    woken.occupy({"b": 119})
    woken.wake(["a"])
    begun = time.monotonic()

    assert _take(woken, timeout=60) == ["a"]
    assert time.monotonic() - begun < 30
