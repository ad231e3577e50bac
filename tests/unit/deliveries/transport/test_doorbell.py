"""Doorbell: a ring is never lost, and many before it is answered are one."""

from __future__ import annotations

import select
import threading

from deliveries.transport.doorbell import Doorbell


def _rings(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_a_ring_is_heard_until_it_is_answered() -> None:
    bell = Doorbell()
    assert not _rings(bell)
    bell.ring()
    bell.ring()
    assert _rings(bell)

    bell.answer()

    assert not _rings(bell)
    bell.ring()
    assert _rings(bell)
    bell.close()


def test_nothing_that_was_put_down_before_a_ring_is_overlooked() -> None:
    bell, put, seen = Doorbell(), [0], 0
    rounds = 20_000

    def ring() -> None:
        for _ in range(rounds):
            put[0] += 1
            bell.ring()

    ringing = threading.Thread(target=ring)
    ringing.start()
    while seen < rounds:
        assert select.select([bell], [], [], 10)[0], f"deaf at {seen}"
        bell.answer()
        seen = put[0]
    ringing.join()
    bell.close()


def test_of_one_that_was_closed_nothing_comes() -> None:
    bell = Doorbell()
    bell.close()
    bell.ring()
