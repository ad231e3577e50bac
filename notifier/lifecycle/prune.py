"""succeeded, dead → gone: what ended long ago."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from notifier.lifecycle.rowwise import delete_rows
from notifier.models import NotificationAttempt, NotificationLabel, NotificationTask
from notifier.models.task import Outcome


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch deleted; ``up_to``: when the last of them had ended, None where there was nothing to delete."""

    tasks: int
    up_to: datetime | None


def prune(outcome: Outcome, *, ended_before: datetime, ended_from: datetime | None = None, limit: int) -> Pruned:
    """Delete tasks that ended so before that time, the oldest first, with their attempts and labels; at most ``limit``.

    ``ended_from`` is the ``up_to`` of the batch before: what that one deleted is still in the index until the database has
    purged it, and is not read again. To be called in a transaction: a crash before the commit leaves all of the batch. What somebody else has locked (another prune, a requeue, a late result) is left for
    later. Nothing that waits or runs is read, let alone locked. A deleted task's idempotency key is free again.
    """
    ended = NotificationTask.objects.filter(outcome=outcome, finished_at__lt=ended_before)
    if ended_from is not None:
        ended = ended.filter(finished_at__gte=ended_from)
    rows = list(
        ended.order_by("finished_at")
        .select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
        .values_list("pk", "task_id", "finished_at")[:limit]
    )
    if not rows:
        return Pruned(0, None)
    tasks, task_ids = [key for key, _, _ in rows], [task_id for _, task_id, _ in rows]
    # The tasks are locked, so nobody adds a row to them meanwhile.
    labels = NotificationLabel.objects.filter(task__task_id__in=task_ids).values_list("pk", flat=True)
    attempts = NotificationAttempt.objects.filter(task__in=tasks).values_list("pk", flat=True)
    delete_rows(NotificationLabel, list(labels))
    delete_rows(NotificationAttempt, list(attempts))
    if delete_rows(NotificationTask, tasks) != len(tasks):  # pragma: no cover - the rows are locked and exist
        raise RuntimeError(f"fewer than {len(tasks)} locked tasks were deleted")
    return Pruned(len(rows), rows[-1][2])
