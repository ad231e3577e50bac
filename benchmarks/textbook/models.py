from __future__ import annotations

from django.db import models


class Partner(models.Model):
    name = models.SlugField(max_length=64, unique=True)

    class Meta:
        app_label = "textbook"

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="notifications")
    target_url = models.URLField(max_length=2048)
    method = models.CharField(max_length=8, default="POST")
    headers = models.JSONField(default=dict, blank=True)
    body = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "textbook"

    def __str__(self) -> str:
        return f"notification {self.pk}"


class Attempt(models.Model):
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="history")
    number = models.PositiveIntegerField()
    http_status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    duration_ms = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "textbook"

    def __str__(self) -> str:
        return f"attempt {self.number} of notification {self.notification_id}"
