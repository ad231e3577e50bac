"""– → pending."""

from __future__ import annotations

from notifier.models import NotificationLabel, NotificationTask, Status
from notifier.models.label import label_digest


def accept(task: NotificationTask) -> None:
    """Insert a new task and its labels, due at ``task.next_attempt_at``.

    Raises ``IntegrityError`` where the partner has a task under this idempotency key already. A task without metadata is
    one INSERT, its own transaction; with metadata, the caller's transaction holds both. A crash before the commit leaves
    nothing, one after it leaves a task that the sweep finds.
    """
    task.status = Status.PENDING
    task.save(force_insert=True)
    if task.metadata:
        NotificationLabel.objects.bulk_create(
            [
                NotificationLabel(task_id=task.task_id, digest=label_digest(name, value))
                for name, value in task.metadata.items()
            ]
        )
