"""Reads for the API, the admin and metrics. Every query here has a LIMIT or a unique key, and an index."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from django.db import connection
from django.db.models import QuerySet

from notifier import clock, lifecycle
from notifier.models import (
    ApiKey,
    NotificationAttempt,
    NotificationLabel,
    NotificationTask,
    Partner,
    PartnerState,
    Status,
)
from notifier.models.label import label_digest
from notifier.models.task import has_status
from notifier.policy import explain as rules
from notifier.policy.exchange import FailureKind
from notifier.policy.explain import Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What the list can be narrowed by; None: not narrowed."""

    partner_id: str | None = None
    status: str | None = None
    dead_reason: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None


def visible_tasks(key: ApiKey) -> QuerySet[NotificationTask]:
    """The tasks that the key may see.

    Without a join: with one the database begins at the small table of partners, and sorts all of their tasks for a page.
    """
    tasks = NotificationTask.objects.prefetch_related("partner")
    return tasks.filter(partner__in=_partner_keys(key.partners)) if key.partners else tasks


def _partner_keys(partner_ids: Collection[str]) -> list[int]:
    return list(Partner.objects.filter(partner_id__in=partner_ids).order_by().values_list("pk", flat=True))


def made_by(task: NotificationTask, key: ApiKey) -> bool:
    """Whether this key made the task, or one that it was rotated from, or to."""
    if task.created_by_id == key.pk:
        return True
    maker = ApiKey.objects.filter(pk=task.created_by_id).first() if task.created_by_id is not None else None
    return maker is not None and maker.lineage == key.lineage


def find_task(key: ApiKey, task_id: uuid.UUID) -> NotificationTask | None:
    return visible_tasks(key).filter(task_id=task_id).first()


def list_tasks(key: ApiKey, wanted: TaskFilter) -> QuerySet[NotificationTask]:
    """Unordered and unlimited: the paginator orders by task_id, newest first, and limits."""
    return narrowed(visible_tasks(key), wanted)


def narrowed(tasks: QuerySet[NotificationTask], wanted: TaskFilter) -> QuerySet[NotificationTask]:
    """The tasks that match. Times narrow task_id too, which begins with the millisecond of created_at: a range of its index."""
    if wanted.partner_id is not None:
        tasks = tasks.filter(partner__in=_partner_keys([wanted.partner_id]))
    if wanted.status is not None:
        tasks = tasks.filter(has_status(wanted.status))
    if wanted.dead_reason is not None:
        # The status too: a partner's dead are one range of an index.
        tasks = tasks.filter(has_status(Status.DEAD), dead_reason=wanted.dead_reason)
    if wanted.created_after is not None:
        tasks = tasks.filter(created_at__gt=wanted.created_after, task_id__gte=_first_id(wanted.created_after))
    if wanted.created_before is not None:
        tasks = tasks.filter(created_at__lt=wanted.created_before, task_id__lte=_last_id(wanted.created_before))
    if wanted.error_code is not None:
        tasks = tasks.filter(last_error_code=wanted.error_code)
    for name, value in wanted.metadata.items():
        labelled = NotificationLabel.objects.filter(digest=label_digest(name, value))
        tasks = tasks.filter(task_id__in=labelled.values("task"))
    return tasks


# So many tasks that go to addresses of one beginning are found by their index and sorted; more are met on a walk.
MOST_SENT_TO = 1_000


def sent_to(tasks: QuerySet[NotificationTask], beginning: str) -> QuerySet[NotificationTask]:
    """Those whose address begins so. A rare beginning is a range of its index; a frequent one is found by going from the newest on."""
    table = connection.ops.quote_name(NotificationTask._meta.db_table)
    hint = "FORCE INDEX (task_url)" if connection.vendor == "mysql" else ""
    escaped = connection.ops.prep_for_like_query(beginning)
    like = "LIKE %s" if connection.vendor == "mysql" else "LIKE %s ESCAPE '\\'"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM {table} {hint} WHERE target_url {like} LIMIT %s",  # noqa: S608 - no text of a caller's
            [f"{escaped}%", MOST_SENT_TO + 1],
        )
        keys = [key for (key,) in cursor.fetchall()]
    if len(keys) > MOST_SENT_TO:
        return tasks.filter(target_url__istartswith=beginning)
    return tasks.filter(pk__in=keys)


def _milliseconds(moment: datetime) -> int:
    return min(max(int(moment.timestamp() * 1000), 0), 2**48 - 1)


def _first_id(moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=_milliseconds(moment) << 80)


def _last_id(moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=(_milliseconds(moment) << 80) | (2**80 - 1))


def attempts(task: NotificationTask) -> QuerySet[NotificationAttempt]:
    """All attempts of a task, oldest first; at most its budgets' sum."""
    return NotificationAttempt.objects.filter(task=task).order_by("attempt_no")


def explain(task: NotificationTask) -> Explanation:
    """Why the task stands where it stands. ``lifecycle`` and ``policy`` are asked what a claim asks them."""
    partner, now = task.partner, clock.read()
    state = PartnerState.objects.get(pk=partner.pk)
    limited = [partner.pk] if partner.max_concurrency is not None else []
    return rules.explain(
        rules.Task(
            state=_standing(task),
            attempts_used=task.attempts_used,
            max_attempts=task.max_attempts,
            expires_at=task.expires_at,
        ),
        state.flow(enabled=partner.enabled),
        partner.limits,
        partner.retry_policy,
        in_flight=lifecycle.in_flight(limited, now=now).get(partner.pk, 0),
        now=now,
    )


def _standing(task: NotificationTask) -> rules.Waiting | rules.Running | rules.Ended:
    """By the one time that its state has (the table's constraints)."""
    if task.finished_at is not None:
        return rules.Ended(task.finished_at, f"{task.status} ({task.dead_reason})" if task.dead_reason else task.status)
    if task.lease_expires_at is not None:
        return rules.Running(task.updated_at, task.lease_expires_at)
    return rules.Waiting(task.updated_at, cast(datetime, task.next_attempt_at), task.status == Status.FAILED)


def visible_partners(key: ApiKey) -> QuerySet[Partner]:
    """The partners that the key may use, each with its state."""
    partners = Partner.objects.select_related("state")
    return partners.filter(partner_id__in=key.partners) if key.partners else partners


def find_partner(key: ApiKey, partner_id: str) -> Partner | None:
    return visible_partners(key).filter(partner_id=partner_id).first()


def handling_failures(task_key: int, *, since_attempt: int) -> int:
    """How often the notifier itself failed at a task after that attempt; at most the budget of attempts."""
    return NotificationAttempt.objects.filter(
        task=task_key, attempt_no__gt=since_attempt, error_code=FailureKind.INTERNAL.value
    ).count()


def due_keys(partner_ids: Collection[str], now: datetime, *, limit: int) -> list[int]:
    """Keys of the due tasks that the next claims of these partners would take first."""
    due = NotificationTask.objects.filter(partner__partner_id__in=partner_ids, next_attempt_at__lte=now)
    return list(due.order_by("partner", "rank", "next_attempt_at").values_list("pk", flat=True)[:limit])


def overdue_keys(now: datetime, *, limit: int) -> list[int]:
    """Keys of the tasks that a sweep would change first: expired leases, and waiting tasks past their time."""
    leases = NotificationTask.objects.filter(lease_expires_at__lte=now).order_by("lease_expires_at")
    return [
        key
        for tasks in (leases, NotificationTask.objects.overdue(now))
        for key in tasks.values_list("pk", flat=True)[:limit]
    ]
