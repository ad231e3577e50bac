"""Reads for the API, the admin and metrics. Every query here has a LIMIT or a unique key, and an index."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet

from notifier.models import ApiKey, NotificationAttempt, NotificationLabel, NotificationTask
from notifier.models.label import label_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What the list can be narrowed by; None: not narrowed."""

    partner_id: str | None = None
    status: str | None = None
    dead_reason: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def visible_tasks(key: ApiKey) -> QuerySet[NotificationTask]:
    """The tasks that the key may see, without their bodies."""
    tasks = NotificationTask.objects.select_related("partner")
    return tasks.filter(partner__partner_id__in=key.partners) if key.partners else tasks


def find_task(key: ApiKey, task_id: uuid.UUID) -> NotificationTask | None:
    return visible_tasks(key).filter(task_id=task_id).first()


def list_tasks(key: ApiKey, wanted: TaskFilter) -> QuerySet[NotificationTask]:
    """Unordered and unlimited: the paginator orders by task_id, newest first, and limits.

    Times narrow task_id too, which begins with the millisecond of created_at, so that they are a range of its index.
    """
    tasks = visible_tasks(key)
    if wanted.partner_id is not None:
        tasks = tasks.filter(partner__partner_id=wanted.partner_id)
    if wanted.status is not None:
        tasks = tasks.filter(status=wanted.status)
    if wanted.dead_reason is not None:
        tasks = tasks.filter(dead_reason=wanted.dead_reason)
    if wanted.created_after is not None:
        tasks = tasks.filter(created_at__gt=wanted.created_after, task_id__gte=_first_id(wanted.created_after))
    if wanted.created_before is not None:
        tasks = tasks.filter(created_at__lt=wanted.created_before, task_id__lte=_last_id(wanted.created_before))
    for name, value in wanted.metadata.items():
        labelled = NotificationLabel.objects.filter(digest=label_digest(name, value))
        tasks = tasks.filter(task_id__in=labelled.values("task"))
    return tasks


def _milliseconds(moment: datetime) -> int:
    return min(max(int(moment.timestamp() * 1000), 0), 2**48 - 1)


def _first_id(moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=_milliseconds(moment) << 80)


def _last_id(moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=(_milliseconds(moment) << 80) | (2**80 - 1))


def attempts(task: NotificationTask) -> QuerySet[NotificationAttempt]:
    """All attempts of a task, oldest first; at most its budgets' sum."""
    return NotificationAttempt.objects.filter(task=task).order_by("attempt_no")
