"""Labels: a task's metadata, one row an entry, so that a list can be filtered by them without reading every task."""

from __future__ import annotations

import hashlib

from django.db import models

from notifier.models.task import NotificationTask


def label_digest(name: str, value: str) -> int:
    """64 bits of SHA-256 over name and value, as a signed number."""
    digest = hashlib.sha256(f"{len(name)}:{name}={value}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class NotificationLabel(models.Model):
    # By task_id, because a bulk insert does not give keys back on MySQL.
    task = models.ForeignKey(NotificationTask, on_delete=models.CASCADE, to_field="task_id", related_name="labels")
    digest = models.BigIntegerField()

    class Meta:
        indexes = (models.Index(name="label_search", fields=("digest", "task")),)

    def __str__(self) -> str:
        return f"label of {self.task_id}"
