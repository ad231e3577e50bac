"""A bulk requeue: dead tasks that match a filter made due again, at a rate, across restarts."""

from __future__ import annotations

from django.db import models


class BulkRequeue(models.Model):
    """Written by ``notifier.bulk_requeue`` alone. All that a process needs to go on with it stands here."""

    class State(models.TextChoices):
        RUNNING = "running"  # the sweep takes it further
        STOPPED = "stopped"  # the end: a person stopped it, or it could not go on (``note``)
        DONE = "done"  # the end: every task that matched was requeued, or had left by itself

    state = models.CharField(max_length=7, choices=State, default=State.RUNNING)
    # The fields of selectors.TaskFilter, times as RFC 3339.
    wanted = models.JSONField()
    # Only these partners' tasks, by their ids; empty: all. An API key's own bound.
    partners = models.JSONField(default=list)
    per_second = models.PositiveIntegerField(null=True)
    # As counted at the start, up to a bound.
    matched = models.PositiveIntegerField()
    requeued = models.PositiveIntegerField(default=0)
    # Who asked: the trail's own words.
    actor_kind = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    # Tasks up to this one have been looked at; those that died after ``created_at`` are not its business.
    cursor = models.UUIDField(null=True, default=None)
    # The rate has been used up to this moment.
    paced_until = models.DateTimeField()
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, default=None)

    class Meta:
        default_permissions = ("view",)
        verbose_name = "bulk requeue"
        constraints = (
            models.CheckConstraint(
                name="bulk_requeue_state",
                condition=models.Q(state="running", ended_at__isnull=True)
                | models.Q(state__in=("stopped", "done"), ended_at__isnull=False),
            ),
        )
        indexes = (models.Index(name="bulk_requeue_running", fields=("state", "id")),)

    def __str__(self) -> str:
        return f"bulk requeue {self.pk}"
