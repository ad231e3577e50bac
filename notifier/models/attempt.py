"""An attempt: what happened when a task was sent once. Every claim that was not given back leaves one."""

from __future__ import annotations

from django.db import models

from notifier.models.task import NotificationTask


class AttemptStatus(models.TextChoices):
    SUCCEEDED = "succeeded"  # the success condition was met
    FAILED = "failed"  # it was not, or no response came; see error_code
    LEASE_EXPIRED = "lease_expired"  # the worker was lost, or the task cancelled: what the partner got is unknown

    class Meta:
        constraints = (models.UniqueConstraint(name="attempt_number", fields=("task", "attempt_no")),)

    def __str__(self) -> str:
        return f"attempt {self.attempt_no} of task {self.task_id}"
