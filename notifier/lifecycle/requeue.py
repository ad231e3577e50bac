"""failed, dead → pending."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Case, F, Value, When

from notifier.models import NotificationTask, Status


def requeue(task: NotificationTask, *, now: datetime) -> bool:
    """Make a failed or dead task due now, with a fresh budget of attempts; False where it is neither.

    The history stays and attempt numbers go on. A task whose time is over gets its partner's full age again.
    """
    fresh_end = now + timedelta(hours=task.partner.max_age_hours)
    moved = NotificationTask.objects.filter(pk=task.pk, status__in=(Status.FAILED, Status.DEAD)).update(
        status=Status.PENDING,
        dead_reason=None,
        next_attempt_at=now,
        attempts_before_requeue=F("attempt_count"),
        attempts_excused=0,
        expires_at=Case(When(expires_at__lte=now, then=Value(fresh_end)), default=F("expires_at")),
        finished_at=None,
        updated_at=now,
    )
    return moved == 1
