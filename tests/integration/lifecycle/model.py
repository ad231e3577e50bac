"""What a notification does, as docs/states.md tells it, in memory: a second opinion to hold the lifecycle against."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from notifier.models import AttemptStatus, Status
from notifier.models.task import DeadReason


class Answer(StrEnum):
    """What came of an attempt."""

    SUCCESS = "success"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    FAILED_PROBE = "failed probe"  # temporary, and excused


@dataclass(kw_only=True)
class ModelTask:
    """One notification. Each method is a transition; those that can be refused say whether they were not."""

    key: int
    partner: int
    rank: int
    max_attempts: int
    next_attempt_at: datetime | None
    expires_at: datetime | None
    status: str = Status.PENDING
    dead_reason: str | None = None
    attempt_count: int = 0
    attempts_before_requeue: int = 0
    attempts_excused: int = 0
    lease: uuid.UUID | None = None
    lease_expires_at: datetime | None = None
    finished_at: datetime | None = None
    # Attempt number → how it ended; a claim that is not given back leaves one.
    history: dict[int, str] = field(default_factory=dict)

    @property
    def attempts_used(self) -> int:
        return self.attempt_count - self.attempts_before_requeue - self.attempts_excused

    @property
    def waits(self) -> bool:
        return self.status in (Status.PENDING, Status.FAILED)

    def due(self, now: datetime) -> bool:
        return self.next_attempt_at is not None and self.next_attempt_at <= now

    def over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def claim(self, token: uuid.UUID, *, until: datetime) -> None:
        self._become(Status.RUNNING)
        self.lease, self.lease_expires_at = token, until
        self.attempt_count += 1

    def give_back(self, token: uuid.UUID, *, now: datetime) -> bool:
        if self.lease != token:
            return False
        self.attempt_count -= 1
        untried = self.attempt_count == self.attempts_before_requeue
        self._become(Status.PENDING if untried else Status.FAILED, due=now)
        return True

    def answer(self, token: uuid.UUID, number: int, answer: Answer, *, retry_at: datetime, now: datetime) -> bool:
        """The attempt of this number and lease ended so; whether the task moved."""
        held = self.lease == token
        ended = AttemptStatus.SUCCEEDED if answer is Answer.SUCCESS else AttemptStatus.FAILED
        if held or self.history.get(number, AttemptStatus.LEASE_EXPIRED) == AttemptStatus.LEASE_EXPIRED:
            self.history[number] = ended
        if not held:
            unclaimed_since = self.status == Status.FAILED and self.attempt_count == number
            if answer is not Answer.SUCCESS or not unclaimed_since:
                return False
        match answer:
            case Answer.SUCCESS:
                self._become(Status.SUCCEEDED, ended=now)
            case Answer.PERMANENT:
                self._become(Status.DEAD, ended=now, reason=DeadReason.REJECTED)
            case Answer.FAILED_PROBE:
                self.attempts_excused += 1
                self._become(Status.FAILED, due=retry_at)
            case Answer.TEMPORARY:
                self._fail(retry_at, now)
        return True

    def release(self, now: datetime) -> bool:
        """The sweep finds that its lease ran out."""
        if self.lease_expires_at is None or self.lease_expires_at > now:
            return False
        self.history[self.attempt_count] = AttemptStatus.LEASE_EXPIRED
        self._fail(now, now)
        return True

    def _fail(self, retry_at: datetime, now: datetime) -> None:
        if self.attempts_used >= self.max_attempts:
            self._become(Status.DEAD, ended=now, reason=DeadReason.EXHAUSTED)
        else:
            self._become(Status.FAILED, due=retry_at)

    def expire(self, now: datetime) -> bool:
        if not (self.waits and self.over(now)):
            return False
        self._become(Status.DEAD, ended=now, reason=DeadReason.EXPIRED)
        return True

    def cancel(self, now: datetime) -> bool:
        if self.status in (Status.SUCCEEDED, Status.DEAD):
            return False
        if self.lease is not None:
            # Until it is heard of, nobody knows how it ended.
            self.history[self.attempt_count] = AttemptStatus.LEASE_EXPIRED
        self._become(Status.DEAD, ended=now, reason=DeadReason.CANCELLED)
        return True

    def requeue(self, now: datetime, *, max_age: timedelta) -> bool:
        if self.status not in (Status.FAILED, Status.DEAD):
            return False
        self._become(Status.PENDING, due=now)
        self.attempts_before_requeue, self.attempts_excused = self.attempt_count, 0
        if self.over(now):
            self.expires_at = now + max_age
        return True

    def _become(
        self, status: str, *, due: datetime | None = None, ended: datetime | None = None, reason: str | None = None
    ) -> None:
        self.status, self.next_attempt_at, self.finished_at, self.dead_reason = status, due, ended, reason
        self.lease = self.lease_expires_at = None
