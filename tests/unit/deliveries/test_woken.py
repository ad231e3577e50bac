from __future__ import annotations

import threading
import time

from deliveries.woken import Woken


def test_partners_get_their_turns_in_the_order_of_their_wakes_and_once() -> None:
    woken = Woken(slots=10)
    woken.wake(["a", "b"])
    woken.wake(["b", "c", "a"])

    assert woken.take(2, timeout=0) == ["a", "b"]
    assert woken.take(2, timeout=0) == ["c"]
    assert woken.take(2, timeout=0) == []


def test_a_partner_that_was_taken_can_be_woken_again() -> None:
    woken = Woken(slots=10)
    woken.wake(["a"])
    woken.take(1, timeout=0)

    woken.wake(["a"])

    assert woken.take(1, timeout=0) == ["a"]


def test_nobody_gets_a_turn_without_a_free_slot() -> None:
    woken = Woken(slots=2)
    woken.wake(["a"])
    woken.occupy(2)

    assert woken.take(1, timeout=0) == []
    woken.release(1)
    assert woken.take(1, timeout=0) == ["a"]
    assert woken.slots == 1


def test_a_later_wake_comes_when_its_time_has_come() -> None:
    woken = Woken(slots=1)
    begun = time.monotonic()
    woken.wake_later(["b"], 0.05)
    woken.wake_later(["a"], 0.02)

    assert woken.take(5, timeout=5) == ["a"]
    assert woken.take(5, timeout=5) == ["b"]
    assert time.monotonic() - begun >= 0.05


def test_taking_ends_at_its_timeout() -> None:
    woken = Woken(slots=1)
    begun = time.monotonic()

    assert woken.take(5, timeout=0.03) == []
    assert time.monotonic() - begun >= 0.03


def test_stop_ends_waiting_and_gives_no_further_turn() -> None:
    woken = Woken(slots=1)
    taken: list[list[str]] = []
    taker = threading.Thread(target=lambda: taken.append(woken.take(5, timeout=30)))
    taker.start()

    woken.stop()
    taker.join(5)
    woken.wake(["a"])

    assert taken == [[]]
    assert woken.stopped
    assert woken.take(5, timeout=30) == []


def test_a_release_ends_waiting_for_one() -> None:
    woken = Woken(slots=0)
    waiter = threading.Thread(target=woken.wait_for_release, args=(30,))
    waiter.start()

    woken.release(1)
    # A waiter that began after the release is let go by the next one.
    while waiter.is_alive():
        woken.release(1)
        waiter.join(0.01)

    assert woken.slots >= 1
