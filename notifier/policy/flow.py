"""How many of a partner's due notifications may go now, else why not and until when. Claim and explain ask the same function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from notifier.policy import circuit
from notifier.policy.circuit import Circuit

# Times are microseconds: a token that is due now may lack as much as a fast rate earns in one.
ROUNDING = 1e-6


class Wait(StrEnum):
    """Why a due notification does not go."""

    PAUSED = "paused"  # an operator paused the partner, or disabled it
    RETRY_AFTER = "retry_after"  # the partner asked for time: the hold is not over
    CIRCUIT_OPEN = "circuit_open"  # the partner is down; a probe goes now and then
    CONCURRENCY = "concurrency"  # as many are in flight as may be at once
    RATE_LIMIT = "rate_limit"  # as many went as may in this time


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the partner is configured to take; None: no limit. ``burst`` may go at once after a silence."""

    rate_per_second: float | None = None
    burst: int | None = None
    max_concurrency: int | None = None

    @property
    def bucket(self) -> float:
        """The most tokens: the burst, or what one second earns, and never less than one."""
        return float(self.burst if self.burst is not None else max(1.0, self.rate_per_second or 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What holds a partner back or not, as its state row says. Times are the database's."""

    enabled: bool = True
    paused_at: datetime | None = None
    hold_until: datetime | None = None
    held_at: datetime | None = None
    circuit: Circuit = circuit.CLOSED
    # Of the token bucket, as of tokens_at; None: full, none was ever taken.
    tokens: float | None = None
    tokens_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """How many may go now. Where that is less than was asked for, why; since and until when, where that is known."""

    count: int
    wait: Wait | None = None
    since: datetime | None = None
    until: datetime | None = None
    probe: bool = False


def permit(flow: Flow, limits: Limits, *, in_flight: int, slots: int, now: datetime) -> Permit:
    """The permit for one partner that has ``in_flight`` requests under way anywhere and is offered ``slots`` here."""
    if flow.paused_at is not None or not flow.enabled:
        return Permit(count=0, wait=Wait.PAUSED, since=flow.paused_at)
    if flow.hold_until is not None and flow.hold_until > now:
        return Permit(count=0, wait=Wait.RETRY_AFTER, since=flow.held_at, until=flow.hold_until)
    state = flow.circuit
    open_ = state.state is not circuit.State.CLOSED
    if open_ and (state.probe_at is None or state.probe_at > now):
        return Permit(count=0, wait=Wait.CIRCUIT_OPEN, since=state.since, until=state.probe_at)
    count, wait, until = slots, None, None
    if limits.max_concurrency is not None and limits.max_concurrency - in_flight < count:
        count, wait = max(0, limits.max_concurrency - in_flight), Wait.CONCURRENCY
    if limits.rate_per_second is not None:
        tokens = refilled(flow, limits, now)
        whole = max(0, math.floor(tokens + ROUNDING))
        if whole < count:
            count, wait = whole, Wait.RATE_LIMIT
            until = now + timedelta(seconds=(whole + 1 - tokens) / limits.rate_per_second)
    if open_ and count > 0:
        return Permit(count=1, wait=Wait.CIRCUIT_OPEN, since=state.since, probe=True)
    return Permit(count=count, wait=wait, until=until)


def refilled(flow: Flow, limits: Limits, now: datetime) -> float:
    """The tokens in the bucket now (token bucket, as in RFC 2697 without the excess bucket)."""
    if limits.rate_per_second is None or flow.tokens is None or flow.tokens_at is None:
        return limits.bucket
    # Another worker's clock reading may be a little later than this one's.
    elapsed = max(0.0, (now - flow.tokens_at).total_seconds())
    return min(limits.bucket, flow.tokens + elapsed * limits.rate_per_second)
