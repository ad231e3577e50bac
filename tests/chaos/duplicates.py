"""Notifications that a partner got again after it had answered with success, and what on record explains each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.ledger import Attempt, Fault, Request, Task

# A process that was started again needs this long until it works; a station looks for its database twice a second.
RECOVERY_SECONDS = 5.0
# A timed-out request as its receiver sees it: it cannot know about the time that it took to get there and back.
TIMEOUT_SHARE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """``again`` is the attempt that should not have been needed; ``why`` is None where nothing on record explains it."""

    id: str
    first: int
    again: int
    why: str | None
    fault: str | None = None  # its kind, where a fault explains it

    @property
    def sentence(self) -> str:
        if self.first == self.again:
            return f"{self.id} was sent twice as attempt {self.first}"
        return f"{self.id} was sent as attempt {self.again} though attempt {self.first} had been answered with success"


def find(
    requests: Sequence[Request], task: Task, culprits: Sequence[Fault], *, timeout_seconds: float
) -> list[Duplicate]:
    """The duplicates among one task's requests, which are in the order of their arrival.

    A request is one where an earlier success of the task is on the receiver's ledger, or where its attempt was received
    before: each attempt goes out once at most, and nothing excuses a second time.
    """
    found: list[Duplicate] = []
    success: Request | None = None
    seen: set[int] = set()
    for request in requests:
        if request.attempt in seen:
            found.append(Duplicate(id=task.id, first=request.attempt, again=request.attempt, why=None))
        elif success is not None:
            found.append(_judged(success, request, task, culprits, timeout_seconds))
        seen.add(request.attempt)
        if success is None and request.success:
            success = request
    return found


def _judged(success: Request, again: Request, task: Task, culprits: Sequence[Fault], timeout: float) -> Duplicate:
    why, fault = _explained(success, again, task, culprits, timeout)
    return Duplicate(id=task.id, first=success.attempt, again=again.attempt, why=why, fault=fault)


def _explained(
    success: Request, again: Request, task: Task, culprits: Sequence[Fault], timeout: float
) -> tuple[str | None, str | None]:
    """What the history says about the earlier of the two attempts, and the fault or the time that bears it out."""
    earlier = min(success.attempt, again.attempt)
    attempt = next((attempt for attempt in task.attempts if attempt.number == earlier), None)
    if attempt is None:
        return None, None
    fault = _overlapping(success, again, culprits)
    if (
        _timed_out(attempt)
        and success.attempt == earlier
        and success.ended - success.arrived >= TIMEOUT_SHARE * timeout
    ):
        return "the answer came when the time-out was over", None
    if fault is None:
        return None, None
    if attempt.status == "lease_expired":
        return "the lease ran out before the answer was recorded", fault.kind
    if attempt.status == "succeeded":
        return "the answer was recorded when the lease had been lost", fault.kind
    return f"the answer did not come through ({attempt.error_code})", fault.kind


def _timed_out(attempt: Attempt) -> bool:
    return attempt.status == "failed" and attempt.error_code == "timeout"


def _overlapping(success: Request, again: Request, culprits: Sequence[Fault]) -> Fault | None:
    """The fault between the first request's arrival and the second one's."""
    return culprit(culprits, min(success.arrived, again.arrived), max(success.ended, again.arrived))


def culprit(faults: Sequence[Fault], begin: float, end: float) -> Fault | None:
    """The first fault that was on between the two times; else the last of those whose recovery was."""
    on = [fault for fault in faults if fault.began <= end and fault.ended >= begin]
    recovering = [fault for fault in faults if fault.ended < begin <= fault.ended + RECOVERY_SECONDS]
    return next(iter(on + recovering[-1:]), None)
