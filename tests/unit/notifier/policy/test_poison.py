from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifier.policy import poison
from notifier.policy.retry import Dead, DeadReason, Decision, RetryAt

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REJECTED = Dead(DeadReason.REJECTED)


@pytest.mark.parametrize(
    ("tries", "attempts_used", "max_attempts", "expected"),
    [
        (1, 1, 10, RetryAt(NOW + timedelta(seconds=2))),
        (2, 2, 10, RetryAt(NOW + timedelta(seconds=4))),
        (3, 3, 10, REJECTED),
        # Two ordinary failures before: they are not tries of this kind.
        (1, 3, 10, RetryAt(NOW + timedelta(seconds=2))),
        (1, 1, 1, REJECTED),
        (2, 5, 5, REJECTED),
    ],
)
def test_three_tries_or_the_budget(tries: int, attempts_used: int, max_attempts: int, expected: Decision) -> None:
    assert poison.decide(tries=tries, attempts_used=attempts_used, max_attempts=max_attempts, now=NOW) == expected


def test_the_message_names_the_kind_of_the_error_and_none_of_its_text() -> None:
    assert poison.message(ValueError("secret")) == "The notifier could not handle this task: ValueError."
