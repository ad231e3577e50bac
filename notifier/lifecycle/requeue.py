"""failed, dead → pending."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Case, F, QuerySet, Value, When

from notifier.models import NotificationTask, Status


def requeue(task: NotificationTask, *, now: datetime) -> bool:
    """Make a failed or dead task due now, with a fresh budget of attempts; False where it is neither.

    The history stays and attempt numbers go on. A task whose time is over gets its partner's full age again.
    """
    fresh_end = now + timedelta(hours=task.partner.max_age_hours)
    movable = NotificationTask.objects.filter(pk=task.pk, status__in=(Status.FAILED, Status.DEAD))
    return _rearm(movable, fresh_end, now) == 1


def requeue_many(tasks: Iterable[tuple[int, float]], *, now: datetime) -> int:
    """The same for dead tasks, given by their keys and their partners' ages in hours; how many were moved.

    To be called in a transaction, with no more tasks than it may lock. One that is not dead any more is left as it is.
    """
    by_age: dict[float, list[int]] = defaultdict(list)
    for key, max_age_hours in tasks:
        by_age[max_age_hours].append(key)
    return sum(
        _rearm(
            NotificationTask.objects.filter(pk__in=sorted(keys), status=Status.DEAD), now + timedelta(hours=hours), now
        )
        for hours, keys in by_age.items()
    )


def _rearm(movable: QuerySet[NotificationTask], fresh_end: datetime, now: datetime) -> int:
    return movable.update(
        status=Status.PENDING,
        dead_reason=None,
        next_attempt_at=now,
        attempts_before_requeue=F("attempt_count"),
        attempts_excused=0,
        expires_at=Case(When(expires_at__lte=now, then=Value(fresh_end)), default=F("expires_at")),
        finished_at=None,
        updated_at=now,
    )
