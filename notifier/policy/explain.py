"""Why a notification stands where it stands, and when its next attempts would be: asked of the rules that decide."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from notifier.policy import circuit, flow, retry
from notifier.policy.flow import Flow, Limits, Permit, Wait
from notifier.policy.retry import RetryPolicy

SHOWN_ATTEMPTS = 10
NEVER = datetime.max.replace(tzinfo=UTC)


class Reason(StrEnum):
    DUE = "due"  # nothing holds it: a claim takes it in its turn
    SCHEDULED = "scheduled"  # not tried yet, and not due
    BACKOFF = "backoff"  # failed, and not due again
    RETRY_AFTER = Wait.RETRY_AFTER.value
    RATE_LIMIT = Wait.RATE_LIMIT.value
    CONCURRENCY = Wait.CONCURRENCY.value
    CIRCUIT_OPEN = Wait.CIRCUIT_OPEN.value
    PAUSED = Wait.PAUSED.value  # or disabled
    IN_FLIGHT = "in_flight"  # claimed: a worker sends it, or has been lost
    FINISHED = "finished"  # nothing more happens by itself


@dataclass(frozen=True, slots=True)
class Waiting:
    """Pending or failed (``tried``), since it was written so."""

    since: datetime
    due_at: datetime
    tried: bool


@dataclass(frozen=True, slots=True)
class Running:
    claimed_at: datetime
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    at: datetime
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the answer depends on. ``attempts_used`` counts a running attempt too."""

    state: Waiting | Running | Ended
    attempts_used: int
    max_attempts: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Between:
    """An attempt comes at some time in this range, both ends included."""

    earliest: datetime
    latest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The reason, a sentence for people, since when, until when where that is known, and the attempts to come."""

    reason: Reason
    message: str
    since: datetime | None = None
    until: datetime | None = None
    next_attempts: tuple[Between, ...] = ()


def explain(
    task: Task, partner: Flow, limits: Limits, policy: RetryPolicy, *, in_flight: int, now: datetime
) -> Explanation:
    """The answer for one task of a partner that has ``in_flight`` requests under way.

    Where several things hold it, the reason is the one that holds it longest; what has no known end outlasts the others.
    The attempts are those that would be made if each of them failed at once, with nothing else in their way.
    """
    match task.state:
        case Ended(at, how):
            return Explanation(reason=Reason.FINISHED, message=f"It has ended: {how}.", since=at)
        case Running(claimed_at, lease_expires_at):
            return _running(task, policy, claimed_at, lease_expires_at, now)
        case Waiting() as waiting:
            permit = flow.permit(partner, limits, in_flight=in_flight, slots=1, now=now)
            return _waiting(task, waiting, partner, permit, policy, now)
        case _:
            assert_never(task.state)


def _running(
    task: Task, policy: RetryPolicy, claimed_at: datetime, lease_expires_at: datetime, now: datetime
) -> Explanation:
    if lease_expires_at > now:
        message = f"A worker sends it. Should that worker be lost, it is due again at {_shown(lease_expires_at)}."
    else:
        message = "Its worker was lost: the next sweep closes the attempt."
    low, high = retry.delay_range(policy, task.attempts_used)
    first = Between(now + timedelta(seconds=low), max(now, lease_expires_at) + timedelta(seconds=high))
    return Explanation(
        reason=Reason.IN_FLIGHT,
        message=message,
        since=claimed_at,
        until=lease_expires_at,
        next_attempts=_attempts(task, policy, first),
    )


def _waiting(
    task: Task, waiting: Waiting, partner: Flow, permit: Permit, policy: RetryPolicy, now: datetime
) -> Explanation:
    own_end, partners_end = waiting.due_at, _end(permit, now)
    # What failed may be due since before it did: a probe that failed goes back to the head of the line.
    due_since = max(own_end, waiting.since)
    if permit.wait is not None and own_end <= max(now, partners_end):
        reason, since, until = Reason(permit.wait), permit.since, permit.until
        message = _held(permit, permit.wait, partner)
        if permit.wait in (Wait.RATE_LIMIT, Wait.CONCURRENCY):
            since = due_since
    elif own_end > now:
        reason, since, until = Reason.BACKOFF if waiting.tried else Reason.SCHEDULED, waiting.since, own_end
        what = "Its last attempt failed; the next one is due" if waiting.tried else "It is to be sent"
        message = f"{what} at {_shown(own_end)}."
    else:
        reason, since, until = Reason.DUE, due_since, None
        message = "It is due, and nothing holds its partner back: a worker takes it in its turn."
    start = max(now, own_end, now if partners_end == NEVER else partners_end)
    if task.expires_at is not None and task.expires_at <= start:
        ends = "Its time is over" if task.expires_at <= now else "Before that its time is over"
        message += f" {ends}, at {_shown(task.expires_at)}: then the sweep ends it as expired."
    first = Between(start, start)
    return Explanation(
        reason=reason, message=message, since=since, until=until, next_attempts=_attempts(task, policy, first)
    )


def _end(permit: Permit, now: datetime) -> datetime:
    """When the partner lets one go. A request in flight may end, and a probe may go, at any moment."""
    if permit.wait in (None, Wait.CONCURRENCY) or permit.probe:
        return now
    return permit.until or NEVER


def _held(permit: Permit, wait: Wait, partner: Flow) -> str:
    """The sentence about a partner that lets nothing go, or only a probe."""
    until = "" if permit.until is None else _shown(permit.until)
    match wait:
        case Wait.PAUSED if not partner.enabled:
            return "Its partner is disabled: nothing is sent until it is enabled" + (
                " and resumed." if partner.paused_at is not None else "."
            )
        case Wait.PAUSED:
            return "Its partner is paused: nothing is sent until it is resumed."
        case Wait.RETRY_AFTER:
            return f"Its partner asked for time (Retry-After): nothing is sent to it before {until}."
        case Wait.CIRCUIT_OPEN:
            return f"Its partner's circuit is {_circuit(permit, partner, until)}."
        case Wait.CONCURRENCY:
            return "As many requests to its partner are in flight as may be at once: it goes when one of them ends."
        case Wait.RATE_LIMIT:
            return f"As many requests went to its partner as may in this time: the next one may go at {until}."
        case _:
            assert_never(wait)


def _circuit(permit: Permit, partner: Flow, until: str) -> str:
    state, reason = partner.circuit.state, partner.circuit.reason
    if permit.probe:
        return f"open ({reason}): one notification may go now to probe it, the others wait for the answer"
    if state is circuit.State.HALF_OPEN:
        return f"half-open ({reason}): a probe is on its way; if nothing is heard of it, another one goes at {until}"
    if permit.until is None:
        return f"open ({reason}): nothing is sent until an operator closes it"
    return f"open ({reason}): one notification goes at {until} to probe it, the others wait for the answer"


def _attempts(task: Task, policy: RetryPolicy, first: Between) -> tuple[Between, ...]:
    """From ``first`` on, until the budget of attempts or the task's time is over, but no more than are shown."""
    used = task.attempts_used
    end = task.expires_at or NEVER
    earliest, latest = first.earliest, first.latest
    found: list[Between] = []
    while used < task.max_attempts and earliest < end and len(found) < SHOWN_ATTEMPTS:
        found.append(Between(earliest, min(latest, end)))
        used += 1
        low, high = retry.delay_range(policy, used)
        earliest += timedelta(seconds=low)
        latest += timedelta(seconds=high)
    return tuple(found)


def _shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
