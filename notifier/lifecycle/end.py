"""pending, failed → dead (expired); pending, failed, running → dead (cancelled)."""

from __future__ import annotations

from datetime import datetime

from notifier.lifecycle.record import lost_attempt, record
from notifier.models import NotificationTask, Status
from notifier.models.task import UNFINISHED, WAITING, DeadReason
from notifier.policy import retry


def expire(*, now: datetime, limit: int) -> int:
    """End waiting tasks whose time is over, at most ``limit``; returns how many. One in flight may still succeed."""
    keys = list(NotificationTask.objects.overdue(now).values_list("pk", flat=True)[:limit])
    if not keys:
        return 0
    return NotificationTask.objects.filter(pk__in=keys, status__in=WAITING, expires_at__lte=now).update(
        status=Status.DEAD, dead_reason=DeadReason.EXPIRED, next_attempt_at=None, finished_at=now, updated_at=now
    )


def cancel(task: NotificationTask, *, now: datetime) -> bool:
    """End an unfinished task; False where it was finished already. To be called in a transaction.

    An attempt in flight is written as one of unknown outcome, for its worker may be lost and its lease is gone; what
    comes back still completes it, without moving the task.
    """
    unfinished = NotificationTask.objects.filter(pk=task.pk, status__in=UNFINISHED)
    row = unfinished.select_for_update().values("attempt_count", "lease_token").first()
    if row is None:
        return False
    if row["lease_token"] is not None:
        attempt = lost_attempt(
            task.pk,
            row["attempt_count"],
            row["lease_token"],
            decision=retry.Dead(retry.DeadReason.CANCELLED),
            message="The task was cancelled while this attempt was in flight, and how it ended is not known.",
        )
        return record([attempt], now=now) == {task.pk}
    cancelled = unfinished.update(
        status=Status.DEAD, dead_reason=DeadReason.CANCELLED, next_attempt_at=None, finished_at=now, updated_at=now
    )
    return cancelled == 1
