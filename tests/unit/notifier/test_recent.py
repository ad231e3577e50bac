"""What was read lately counts for its time, from when its reading began."""

from __future__ import annotations

from notifier.recent import Recent
from tests.support.ticks import Ticks


def test_a_value_counts_for_its_time_and_no_longer() -> None:
    ticks = Ticks()
    recent: Recent[str, int] = Recent(2.0, ticks=ticks)

    recent.put("a", 1, read_at=recent.begin())

    ticks.now += 2.0
    assert recent.get("a") == 1
    ticks.now += 0.001
    assert recent.get("a") is None


def test_a_value_is_as_old_as_the_beginning_of_its_reading() -> None:
    ticks = Ticks()
    recent: Recent[str, int] = Recent(2.0, ticks=ticks)
    read_at = recent.begin()
    ticks.now += 1.5

    recent.put("a", 1, read_at=read_at)

    ticks.now += 1.0
    assert recent.get("a") is None


def test_what_has_changed_is_forgotten_alone() -> None:
    recent: Recent[str, int] = Recent(2.0, ticks=Ticks())
    for key in ("a", "b"):
        recent.put(key, 1, read_at=recent.begin())

    recent.forget("a")
    recent.forget("unknown")

    assert (recent.get("a"), recent.get("b")) == (None, 1)


def test_what_is_in_use_is_aging_from_half_of_its_time_on_and_named_once() -> None:
    ticks = Ticks()
    recent: Recent[str, int] = Recent(2.0, ticks=ticks)
    for key in ("old", "unused"):
        recent.put(key, 1, read_at=recent.begin())
    ticks.now += 1.001
    recent.put("young", 1, read_at=recent.begin())

    for key in ("old", "young", "unknown"):
        recent.get(key)

    assert recent.aging(10) == {"old"}
    assert recent.aging(10) == set()


def test_of_many_that_age_some_are_named() -> None:
    ticks = Ticks()
    recent: Recent[int, int] = Recent(2.0, ticks=ticks)
    for key in range(5):
        recent.put(key, 1, read_at=recent.begin())
    ticks.now += 1.5
    for key in range(5):
        recent.get(key)

    assert len(recent.aging(3)) == 3
