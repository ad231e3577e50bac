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


def test_whoever_was_served_stands_behind_those_who_were_not() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put("a", "a 0")
    queue.put("a", "a 1")
    queue.put("b", "b 0")
    assert queue.get() == "a 0"

    queue.put("c", "c 0")

    assert _all(queue) == ["b 0", "a 1", "c 0"]


def test_it_is_true_while_something_waits() -> None:
    queue: FairQueue[str] = FairQueue()
    assert not queue
    queue.put("a", "x")
    assert queue
    queue.get()
    assert not queue
    assert queue.get() is None
