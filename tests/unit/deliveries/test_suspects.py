from __future__ import annotations

import logging

import pytest

from deliveries.suspects import Suspects


def _turns_alone(suspects: Suspects) -> list[str]:
    turns = []
    while turn := suspects.alone():
        turns += turn
    return turns


def test_after_a_turn_that_raised_each_gets_a_turn_alone() -> None:
    suspects = Suspects()

    suspects.raised(["a", "b", "c"], ValueError())

    assert _turns_alone(suspects) == ["a", "b", "c"]


def test_who_raises_alone_is_logged_once_and_kept_apart_until_it_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    suspects = Suspects()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            suspects.raised(["b"], ValueError("a secret value"))

    assert [record.message for record in caplog.records] == ["nothing can be claimed for partner b: ValueError"]
    assert suspects.without(["a", "b", "c"]) == ["a", "c"]
    assert _turns_alone(suspects) == ["b"]
    assert suspects.without(["b"]) == ["b"]

    suspects.cleared(["b"])

    assert suspects.without(["a", "b", "c"]) == ["a", "b", "c"]
    assert _turns_alone(suspects) == []


def test_a_turn_of_several_clears_nobody() -> None:
    suspects = Suspects()
    suspects.raised(["b"], ValueError())

    suspects.cleared(["a", "c"])

    assert suspects.without(["a", "b"]) == ["a"]
