"""FairQueue: who waits for whom before a request begins."""

from __future__ import annotations

import pytest

from deliveries.transport.queue import DOUBLED_AFTER_SECONDS, FIRST_AT_ONCE, FORGOTTEN_AFTER_SECONDS, FairQueue
from tests.support.ticks import Ticks


def _next(queue: FairQueue[str]) -> str | None:
    """The next one, which comes back at once."""
    found = queue.get()
    if found is None:
        return None
    queue.ended(found[0])
    return found[1]


def _all(queue: FairQueue[str]) -> list[str]:
    return list(iter(lambda: _next(queue), None))


def _begun(queue: FairQueue[str]) -> list[str]:
    """Those that may begin before any comes back."""
    return [item for _, item in iter(queue.get, None)]


def _of_ten() -> tuple[FairQueue[str], Ticks]:
    clock = Ticks()
    queue: FairQueue[str] = FairQueue(clock)
    for number in range(10):
        queue.put("a", str(number))
    return queue, clock


def test_one_waits_for_one_of_each_other_not_for_their_hundreds() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(3):
        queue.put("flood", f"flood {number}")
    queue.put("other", "other 0")
    queue.put("healthy", "healthy 0")

    assert _all(queue) == ["flood 0", "other 0", "healthy 0", "flood 1", "flood 2"]


def test_a_senders_own_keep_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(5):
        queue.put("a", str(number))

    assert _all(queue) == ["0", "1", "2", "3", "4"]


def test_a_sender_that_is_new_here_begins_before_those_that_were_served() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put("a", "a 0")
    queue.put("a", "a 1")
    queue.put("b", "b 0")
    queue.put("b", "b 1")
    assert (_next(queue), _next(queue)) == ("a 0", "b 0")

    queue.put("new", "new 0")
    queue.put("new", "new 1")

    assert _all(queue) == ["new 0", "a 1", "b 1", "new 1"]


def test_a_sender_that_comes_again_at_once_is_not_new_again() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(3):
        queue.put("flood", f"flood {number}")
    queue.put("again", "again 0")
    assert (_next(queue), _next(queue)) == ("flood 0", "again 0")

    queue.put("again", "again 1")

    assert _all(queue) == ["flood 1", "again 1", "flood 2"]


def test_of_one_sender_one_is_on_its_way_at_first_and_the_next_goes_when_it_comes_back() -> None:
    queue, clock = _of_ten()

    assert _begun(queue) == ["0"]
    queue.ended("a")
    assert _begun(queue) == ["1"]
    clock.now = DOUBLED_AFTER_SECONDS
    assert _begun(queue) == ["2"]
    queue.ended("a")
    queue.ended("a")
    assert _begun(queue) == ["3", "4"]


def test_while_some_wait_there_may_be_twice_as_many_after_each_twentieth_of_a_second() -> None:
    queue, clock = _of_ten()
    assert len(_begun(queue)) == 1
    clock.now += DOUBLED_AFTER_SECONDS * 0.9
    assert _begun(queue) == []

    assert queue.next_change() == DOUBLED_AFTER_SECONDS
    clock.now = DOUBLED_AFTER_SECONDS
    assert len(_begun(queue)) == 1
    clock.now *= 2
    assert len(_begun(queue)) == 2


def test_answers_that_come_slowly_do_not_keep_it_from_doubling() -> None:
    """Each gives its place to the next, and the wait is still that of those behind it."""
    queue, clock = _of_ten()
    _begun(queue)
    clock.now = DOUBLED_AFTER_SECONDS / 2
    queue.ended("a")
    assert len(_begun(queue)) == 1

    clock.now = DOUBLED_AFTER_SECONDS

    assert len(_begun(queue)) == 1


def test_one_that_waits_for_its_own_keeps_nobody_else_waiting() -> None:
    queue, _ = _of_ten()
    _begun(queue)

    queue.put("b", "b 0")

    assert _begun(queue) == ["b 0"]


@pytest.mark.parametrize(("idle", "at_once"), [(0.9, 2), (1.1, FIRST_AT_ONCE)])
def test_how_many_it_had_is_forgotten_when_its_connections_are_closed(idle: float, at_once: int) -> None:
    queue, clock = _of_ten()
    begun = len(_begun(queue))
    clock.now = DOUBLED_AFTER_SECONDS
    begun += len(_begun(queue))
    while begun:
        queue.ended("a")
        begun += len(_begun(queue)) - 1

    clock.now += FORGOTTEN_AFTER_SECONDS * idle
    for number in range(10):
        queue.put("a", str(number))

    assert len(_begun(queue)) == at_once


def test_senders_that_have_nothing_are_not_kept_for_ever() -> None:
    clock = Ticks()
    queue: FairQueue[str] = FairQueue(clock)
    for number in range(100):
        queue.put(f"s{number}", "x")
    assert len(_all(queue)) == 100

    clock.now = FORGOTTEN_AFTER_SECONDS * 2
    queue.put("last", "x")
    _all(queue)

    assert set(queue._senders) == {"last"}


def test_when_there_is_something_to_do() -> None:
    queue: FairQueue[str] = FairQueue(Ticks())
    assert queue.next_change() is None
    queue.put("a", "x")
    assert queue.next_change() == 0.0
    assert queue.get() == ("a", "x")
    assert queue.get() is None
    assert queue.next_change() is None
