"""pending, failed → dead (expired); pending, failed, running → dead (cancelled)."""

from __future__ import annotations

from datetime import datetime

from notifier.models import NotificationTask, Status
from notifier.models.task import UNFINISHED, WAITING, DeadReason


def expire(*, now: datetime, limit: int) -> int:
    """End waiting tasks whose time is over, at most ``limit``; returns how many. One in flight may still succeed."""
    overdue = NotificationTask.objects.filter(
        finished_at__isnull=True, expires_at__lte=now, next_attempt_at__isnull=False
    ).order_by("expires_at")
    keys = list(overdue.values_list("pk", flat=True)[:limit])
    if not keys:
        return 0
    return NotificationTask.objects.filter(pk__in=keys, status__in=WAITING, expires_at__lte=now).update(
        status=Status.DEAD, dead_reason=DeadReason.EXPIRED, next_attempt_at=None, finished_at=now, updated_at=now
    )


def cancel(task: NotificationTask, *, now: datetime) -> bool:
    """End an unfinished task; False where it was finished already. An attempt in flight is still recorded."""
    cancelled = NotificationTask.objects.filter(pk=task.pk, status__in=UNFINISHED).update(
        status=Status.DEAD,
        dead_reason=DeadReason.CANCELLED,
        next_attempt_at=None,
        lease_token=None,
        lease_expires_at=None,
        finished_at=now,
        updated_at=now,
    )
    return cancelled == 1
