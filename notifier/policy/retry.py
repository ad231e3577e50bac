"""When to try again: exponential backoff with full jitter, an explicit schedule, and Retry-After."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import assert_never

from notifier.policy.classify import Judgement, Outcome

# The defaults wait, at most, 30 s, 1 min, 2, 4, 8, 16, 32, 60, 60 min: about 3 hours over 10 attempts.
DEFAULT_BASE_SECONDS = 30.0
DEFAULT_FACTOR = 2.0
DEFAULT_MAX_SECONDS = 3600.0
DEFAULT_MAX_ATTEMPTS = 10
MAX_ATTEMPTS = 100
MAX_DELAY_SECONDS = 30 * 24 * 3600.0
# With these a Retry-After holds the whole partner (RFC 6585, section 4; RFC 9110, section 15.6.4).
HOLDING_STATUSES = (429, 503)


class Jitter(StrEnum):
    FULL = "full"  # uniform between 0 and the backoff ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015)
    NONE = "none"  # exactly the backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """base · factorⁿ, capped: n counts the failures before the last one."""

    base_seconds: float = DEFAULT_BASE_SECONDS
    factor: float = DEFAULT_FACTOR
    max_seconds: float = DEFAULT_MAX_SECONDS
    jitter: Jitter = Jitter.FULL


@dataclass(frozen=True, slots=True)
class Schedule:
    """The wait after the first failure, the second, …; the last one repeats if there are more attempts."""

    seconds: tuple[float, ...]


RetryPolicy = Backoff | Schedule


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The task is done."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The task waits until then."""

    at: datetime


class DeadReason(StrEnum):
    EXHAUSTED = "exhausted"  # temporary failures used up all attempts
    REJECTED = "rejected"  # the partner refused it for good, or the row cannot be handled
    EXPIRED = "expired"  # it did not succeed before its expires_at
    CANCELLED = "cancelled"  # a person or a producer stopped it
    BLOCKED = "blocked"  # the destination is not allowed


@dataclass(frozen=True, slots=True)
class Dead:
    """No further attempt; a person may requeue it."""

    reason: DeadReason


Decision = Succeeded | RetryAt | Dead


def delay_range(policy: RetryPolicy, failures: int) -> tuple[float, float]:
    """The shortest and the longest wait, in seconds, after the given number of failures (1 or more)."""
    match policy:
        case Schedule(seconds):
            wait = seconds[min(failures, len(seconds)) - 1]
            return wait, wait
        case Backoff(base_seconds=base, factor=factor, max_seconds=cap, jitter=jitter):
            try:
                wait = min(cap, base * factor ** (failures - 1))
            except OverflowError:
                wait = cap
            return (0.0, wait) if jitter is Jitter.FULL else (wait, wait)
        case _:
            assert_never(policy)


def delay(policy: RetryPolicy, failures: int, *, random: Callable[[], float]) -> timedelta:
    """The wait after the given number of failures; ``random`` gives numbers in [0, 1)."""
    low, high = delay_range(policy, failures)
    return timedelta(seconds=low + (high - low) * random())


def parse_retry_after(value: str | None, *, now: datetime, cap: timedelta) -> timedelta | None:
    """The wait that a Retry-After header asks for (RFC 9110, section 10.2.3): whole seconds or an HTTP date.

    None where the header is absent, unreadable or in the past; never more than ``cap``: a
    partner may ask for silence, but not for ever.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Ten digits are three centuries; more than that would overflow timedelta.
        wait = cap if len(text) > 10 else timedelta(seconds=int(text))
    else:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return min(wait, cap) if wait > timedelta() else None


def decide(
    judgement: Judgement,
    *,
    policy: RetryPolicy,
    attempts_used: int,
    max_attempts: int,
    retry_after: timedelta | None,
    now: datetime,
    random: Callable[[], float],
) -> Decision:
    """What becomes of the task after an attempt. ``attempts_used`` counts this one, since accept or the last requeue."""
    match judgement.outcome:
        case Outcome.SUCCEEDED:
            return Succeeded()
        case Outcome.PERMANENT:
            return Dead(DeadReason.REJECTED)
        case Outcome.REFUSED:
            return Dead(DeadReason.BLOCKED)
        case Outcome.TEMPORARY:
            if attempts_used >= max_attempts:
                return Dead(DeadReason.EXHAUSTED)
            wait = delay(policy, attempts_used, random=random)
            return RetryAt(now + max(wait, retry_after or timedelta()))
        case _:
            assert_never(judgement.outcome)
