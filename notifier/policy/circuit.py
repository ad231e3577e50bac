"""The circuit of a partner: while it is down, its notifications wait instead of burning their attempts.

Closed, open, half-open as in M. Nygard, "Release It!"; the defaults of volume and ratio are those of Netflix Hystrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from notifier.policy.classify import Judgement, Outcome
from notifier.policy.exchange import FailureKind

DEFAULT_FAILURE_RATIO = 0.5
DEFAULT_MIN_ATTEMPTS = 20
DEFAULT_WINDOW_SECONDS = 60.0
# The defaults pause 2 s, 4, 8, 16, 32, 64, 128, 256, 300, 300 … between probes.
DEFAULT_PAUSE_SECONDS = 2.0
DEFAULT_MAX_PAUSE_SECONDS = 300.0


class State(StrEnum):
    CLOSED = "closed"  # requests go
    OPEN = "open"  # none goes; a probe may at probe_at, or, without one, when an operator says so
    HALF_OPEN = "half_open"  # one probe is on its way; its answer decides


class Evidence(StrEnum):
    """What one attempt says about the partner's health."""

    ANSWERED = "answered"  # it works, even where it refused this request for good
    FAILED = "failed"  # it does not: no answer, or a failure that may pass
    NONE = "none"  # it says nothing: the request never left, or the partner asked for time


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """Opens when at least ``failure_ratio`` of at least ``min_attempts`` attempts failed; None: never by itself.

    Attempts count less as they age, by a factor of e each ``window_seconds``, so that the count needs no history.
    """

    failure_ratio: float | None = DEFAULT_FAILURE_RATIO
    min_attempts: int = DEFAULT_MIN_ATTEMPTS
    window_seconds: float = DEFAULT_WINDOW_SECONDS
    pause_seconds: float = DEFAULT_PAUSE_SECONDS
    max_pause_seconds: float = DEFAULT_MAX_PAUSE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Where the circuit stands. ``attempts`` and ``failures`` are the aged counts as of ``counted_at``."""

    state: State = State.CLOSED
    since: datetime | None = None
    reason: str = ""
    probe_at: datetime | None = None
    # Probes that failed since it was last closed, and the failure that opened it: how long the next pause is.
    openings: int = 0
    attempts: float = 0.0
    failures: float = 0.0
    counted_at: datetime | None = None


CLOSED = Circuit()


@dataclass(frozen=True, slots=True)
class Tally:
    """What some attempts of one partner said; ``error_code`` is the last failure's."""

    answered: float = 0.0
    failed: int = 0
    error_code: str = ""


_OUR_OWN = (FailureKind.INTERNAL, FailureKind.HELD_UP)


def evidence(judgement: Judgement, *, asked_for_time: bool) -> Evidence:
    """What a judged attempt says. A partner that asked for time is held, which is kinder than its circuit."""
    if asked_for_time or judgement.outcome is Outcome.REFUSED or judgement.error_code in _OUR_OWN:
        return Evidence.NONE
    return Evidence.FAILED if judgement.outcome is Outcome.TEMPORARY else Evidence.ANSWERED


def aged(count: float, *, seconds: float, window_seconds: float) -> float:
    """What attempts counted so long ago still count."""
    return count * math.exp(-max(0.0, seconds) / window_seconds)


def counted(circuit: Circuit, policy: CircuitPolicy, tally: Tally, *, now: datetime) -> Circuit:
    """The circuit after ordinary attempts: opened where too many failed. Open and half-open ones heed their probe only."""
    if circuit.state is not State.CLOSED:
        return circuit
    age = 0.0 if circuit.counted_at is None else (now - circuit.counted_at).total_seconds()
    failures = aged(circuit.failures, seconds=age, window_seconds=policy.window_seconds) + tally.failed
    attempts = aged(circuit.attempts, seconds=age, window_seconds=policy.window_seconds) + tally.failed + tally.answered
    enough = attempts >= policy.min_attempts - 0.5  # what aged for seconds only still counts as whole
    if tally.failed and policy.failure_ratio is not None and enough and failures >= policy.failure_ratio * attempts:
        reason = f"{failures:.0f} of the last {attempts:.0f} attempts failed, the last with {tally.error_code}"
        return _opened(circuit, policy, reason, now)
    # Another worker's clock reading may be a little later than this one's: no span of time ages anything twice.
    counted_at = now if circuit.counted_at is None else max(now, circuit.counted_at)
    return replace(circuit, attempts=attempts, failures=failures, counted_at=counted_at)


def probing(circuit: Circuit, *, now: datetime, lease_for: timedelta) -> Circuit:
    """One probe is on its way. Should it never be heard of, the next may go when its lease has run out."""
    since = circuit.since if circuit.state is State.HALF_OPEN else now
    return replace(circuit, state=State.HALF_OPEN, since=since, probe_at=now + lease_for)


def probed(circuit: Circuit, policy: CircuitPolicy, said: Evidence, error_code: str, *, now: datetime) -> Circuit:
    """The circuit after its probe: closed, open for a longer pause, or, where the probe said nothing, due for another."""
    if circuit.state is not State.HALF_OPEN:
        return circuit  # an operator set it meanwhile
    match said:
        case Evidence.ANSWERED:
            return Circuit(since=now)
        case Evidence.FAILED:
            return _opened(circuit, policy, f"the probe failed with {error_code}", now)
        case Evidence.NONE:
            return replace(circuit, probe_at=now)
        case _:
            assert_never(said)


def _opened(circuit: Circuit, policy: CircuitPolicy, reason: str, now: datetime) -> Circuit:
    # 2 ** 64 would still be a float, but no more is needed to reach any cap.
    pause = min(policy.max_pause_seconds, policy.pause_seconds * 2.0 ** min(circuit.openings, 64))
    return Circuit(
        state=State.OPEN,
        since=now,
        reason=reason,
        probe_at=now + timedelta(seconds=pause),
        openings=circuit.openings + 1,
    )


def opened_by_hand(*, now: datetime) -> Circuit:
    """Open until an operator closes it: no probe."""
    return Circuit(state=State.OPEN, since=now, reason="opened by an operator")


def closed_by_hand(*, now: datetime) -> Circuit:
    return Circuit(since=now, reason="closed by an operator")
