"""An attempt: what happened when a task was sent once. Every claim that was not given back leaves one."""

from __future__ import annotations

from django.db import models

from notifier.models.task import NotificationTask


class AttemptStatus(models.TextChoices):
    SUCCEEDED = "succeeded"  # the success condition was met
    FAILED = "failed"  # it was not, or no response came; see error_code
    LEASE_EXPIRED = "lease_expired"  # the worker was lost, or the task cancelled: what the partner got is unknown


class NotificationAttempt(models.Model):
    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(NotificationTask, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    attempt_no = models.PositiveIntegerField()
    status = models.CharField(max_length=13, choices=AttemptStatus)
    http_status_code = models.PositiveSmallIntegerField(null=True)
    error_code = models.CharField(max_length=64, null=True)
    error_message = models.CharField(max_length=500, null=True)
    latency_ms = models.FloatField(null=True)
    dns_ms = models.FloatField(null=True)
    connect_ms = models.FloatField(null=True)
    tls_ms = models.FloatField(null=True)
    ttfb_ms = models.FloatField(null=True)
    remote_ip = models.CharField(max_length=45, null=True)
    # [[name, value], …], redacted and bounded
    response_headers = models.JSONField(default=list)
    response_body = models.TextField(default="", blank=True)
    # When the attempt ended.
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(name="attempt_number", fields=("task", "attempt_no")),)

    def __str__(self) -> str:
        return f"attempt {self.attempt_no} of task {self.task_id}"
