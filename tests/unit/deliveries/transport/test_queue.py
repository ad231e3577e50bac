"""FairQueue: who waits for whom before a request begins."""

from __future__ import annotations

from deliveries.transport.queue import FairQueue


def _all(queue: FairQueue[str]) -> list[str]:
    taken: list[str] = []
    while (item := queue.get()) is not None:
        taken.append(item)
    return taken


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
    assert (queue.get(), queue.get()) == ("a 0", "b 0")

    queue.put("new", "new 0")
    queue.put("new", "new 1")

    assert _all(queue) == ["new 0", "a 1", "b 1", "new 1"]


def test_a_sender_that_comes_again_at_once_is_not_new_again() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(3):
        queue.put("flood", f"flood {number}")
    queue.put("again", "again 0")
    assert (queue.get(), queue.get()) == ("flood 0", "again 0")

    queue.put("again", "again 1")

    assert _all(queue) == ["flood 1", "again 1", "flood 2"]


def test_it_is_true_while_something_waits() -> None:
    queue: FairQueue[str] = FairQueue()
    assert not queue
    queue.put("a", "x")
    assert queue
    queue.get()
    assert not queue
    assert queue.get() is None
