"""Exchange → Judgement: did it succeed, may it succeed later, or can the same bytes never succeed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from notifier.policy import condition
from notifier.policy.exchange import Exchange, FailureKind

# The same bytes to the same address cannot succeed later.
DEFAULT_PERMANENT_STATUSES = (400, 405, 406, 410, 411, 413, 414, 415, 422, 431, 501, 505)


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"  # the success condition is met
    TEMPORARY = "temporary"  # a later try may succeed
    PERMANENT = "permanent"  # the partner refuses these bytes for good
    REFUSED = "refused"  # our own guard refused the destination


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome, and for anything but success a stable code and a sentence for people."""

    outcome: Outcome
    error_code: str | None = None
    error_message: str | None = None


SUCCEEDED = Judgement(Outcome.SUCCEEDED)


def classify(exchange: Exchange, *, success_condition: str, permanent_statuses: Collection[int]) -> Judgement:
    """Judge one exchange. A response that meets the condition succeeds, whatever its status."""
    if exchange.failure is not None:
        outcome = Outcome.REFUSED if exchange.failure is FailureKind.ADDRESS_BLOCKED else Outcome.TEMPORARY
        return Judgement(outcome, exchange.failure.value, exchange.failure_detail or exchange.failure.value)
    if condition.met(success_condition, exchange):
        return SUCCEEDED
    if exchange.status in permanent_statuses:
        message = f"The partner answered {exchange.status}, which the same request cannot turn into a success."
        return Judgement(Outcome.PERMANENT, f"http_{exchange.status}", message)
    if exchange.status is not None and 200 <= exchange.status < 400:
        message = f"The partner answered {exchange.status}, but the success condition is not met."
        return Judgement(Outcome.TEMPORARY, "condition_not_met", message)
    return Judgement(Outcome.TEMPORARY, f"http_{exchange.status}", f"The partner answered {exchange.status}.")
