"""A notification task: one HTTP request that must arrive. The row is the truth."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from notifier.models.api_key import ApiKey
from notifier.models.fields import ExactCharField
from notifier.models.partner import Partner
from notifier.policy import retry

HIGHEST_PRIORITY = 9
# What a row's delivery will need beyond what was inserted (a token, times, how it ended), and how much of it a record needs.
ROOM = "." * 96
ROOM_OF_A_RECORD = 48


class Status(models.TextChoices):
    PENDING = "pending"  # not tried since it was accepted or requeued
    RUNNING = "running"  # leased by a worker, which sends it or has been lost
    FAILED = "failed"  # tried, waits for its next attempt
    SUCCEEDED = "succeeded"  # the end: the success condition was met
    DEAD = "dead"  # the end: see dead_reason; a person may requeue it


WAITING = (Status.PENDING, Status.FAILED)
UNFINISHED = (Status.PENDING, Status.FAILED, Status.RUNNING)
FINISHED = (Status.SUCCEEDED, Status.DEAD)


class BodyFormat(models.TextChoices):
    """The field in which the producer gave the body, and in which it is shown again."""

    JSON = "body"
    TEXT = "body_text"
    BASE64 = "body_base64"


class DeadReason(models.TextChoices):
    EXHAUSTED = retry.DeadReason.EXHAUSTED.value
    REJECTED = retry.DeadReason.REJECTED.value
    EXPIRED = retry.DeadReason.EXPIRED.value
    CANCELLED = retry.DeadReason.CANCELLED.value
    BLOCKED = retry.DeadReason.BLOCKED.value


class Outcome(models.TextChoices):
    """How a task ended: it succeeded, or the reason why it is dead."""

    SUCCEEDED = Status.SUCCEEDED.value
    EXHAUSTED = DeadReason.EXHAUSTED.value
    REJECTED = DeadReason.REJECTED.value
    EXPIRED = DeadReason.EXPIRED.value
    CANCELLED = DeadReason.CANCELLED.value
    BLOCKED = DeadReason.BLOCKED.value


def has_status(status: str) -> Q:
    """The condition that a task has this status, such that an index answers it.

    The lists' indexes are over ``status_at_rest``: a page of ``pending`` or ``failed`` passes over those that run, no more than the workers have slots.
    """
    if status == Status.RUNNING:
        return Q(status=status, lease_expires_at__isnull=False)
    return Q(status=status, status_at_rest=status)


class Tasks(models.QuerySet["NotificationTask"]):
    def overdue(self, now: datetime) -> Tasks:
        """What waits and is past its time, the longest overdue first; one range of the index task_end."""
        # Both say that it has not ended: the index begins with them.
        unfinished = self.filter(outcome__isnull=True, finished_at__isnull=True)
        return unfinished.filter(expires_at__lte=now, next_attempt_at__isnull=False).order_by("expires_at")


class NotificationTask(models.Model):
    """Status changes only in ``notifier.lifecycle``; the request itself never changes."""

    id = models.BigAutoField(primary_key=True)
    # UUIDv7, made at accept from the same time as created_at: newest first is task_id descending.
    task_id = models.UUIDField(unique=True, editable=False)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    created_by = models.ForeignKey(
        ApiKey, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )

    # The task that this one replaces: the same request, with another address or other headers.
    replaces = models.UUIDField(null=True, default=None, editable=False)

    target_url = models.CharField(max_length=2048)
    http_method = models.CharField(max_length=8)
    # name → value, or name → {"sealed": token} for a sensitive one
    headers = models.JSONField(default=dict)
    # As it is sent, or a Fernet token of it where body_sealed.
    body = models.BinaryField(null=True)
    body_sealed = models.BooleanField(default=False, db_default=False)
    body_format = models.CharField(max_length=11, choices=BodyFormat, null=True)
    content_type = models.CharField(max_length=255, null=True)
    metadata = models.JSONField(default=dict)
    success_condition = models.CharField(max_length=1024, null=True)
    traceparent = models.CharField(max_length=55, null=True)
    # X-Request-ID of the post, for the log lines of its deliveries.
    request_id = models.CharField(max_length=128, null=True, default=None)
    idempotency_key = ExactCharField(max_length=255, null=True)
    fingerprint = models.CharField(max_length=64)

    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    dead_reason = models.CharField(max_length=9, choices=DeadReason, null=True, default=None)
    # 9 − priority. Ascending, so that one index range yields higher priorities first and older due times first.
    rank = models.PositiveSmallIntegerField()
    # Set only while the task waits, so that finished tasks leave the index that claims read.
    next_attempt_at = models.DateTimeField(null=True)
    # As the producer asked; next_attempt_at moves on from it.
    deliver_at = models.DateTimeField(null=True, default=None)
    expires_at = models.DateTimeField(null=True)
    max_attempts = models.PositiveSmallIntegerField()
    # Claims so far; the running attempt counts. A claim that was given back unsent does not.
    attempt_count = models.PositiveIntegerField(default=0)
    # attempt_count at the last requeue: the budget of attempts starts again there, their numbers go on.
    attempts_before_requeue = models.PositiveIntegerField(default=0)
    # Attempts of this budget that do not count: failed probes of the partner's open circuit, and what was held up here.
    attempts_excused = models.PositiveIntegerField(default=0)
    lease_token = models.UUIDField(null=True, default=None)
    lease_expires_at = models.DateTimeField(null=True, default=None)

    last_attempt_no = models.PositiveIntegerField(null=True, default=None)
    last_attempt_status = models.CharField(max_length=13, null=True, default=None)
    last_http_status_code = models.PositiveSmallIntegerField(null=True, default=None)
    last_error_code = models.CharField(max_length=64, null=True, default=None)
    last_error_message = models.CharField(max_length=500, null=True, default=None)
    last_latency_ms = models.FloatField(null=True, default=None)
    last_attempt_at = models.DateTimeField(null=True, default=None)

    # "succeeded", or why it is dead; NULL until it has ended. Stored for its index: one that begins with dead_reason has
    # all that waits before what succeeded, and the optimizer may choose to walk (and lock) that.
    outcome = models.GeneratedField(
        expression=models.Case(
            models.When(status=Status.SUCCEEDED, then=models.Value(Status.SUCCEEDED.value)),
            default=models.F("dead_reason"),
        ),
        output_field=models.CharField(max_length=9, null=True),
        db_persist=True,
    )

    # The status, and of what runs the one it had before. For the lists' indexes, which a claim then leaves as they are (docs/adr/0014).
    status_at_rest = models.GeneratedField(
        expression=models.Case(
            models.When(~Q(status=Status.RUNNING), then=models.F("status")),
            models.When(attempt_count=models.F("attempts_before_requeue") + 1, then=models.Value(Status.PENDING.value)),
            default=models.Value(Status.FAILED.value),
        ),
        output_field=models.CharField(max_length=9),
        db_persist=True,
    )

    # Given up when that is written: where a row outgrows its place, InnoDB moves all rows of its page, and MariaDB logs the
    # page (docs/adr/0013).
    room = models.CharField(max_length=len(ROOM), db_default=ROOM, editable=False)

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, default=None)

    objects = Tasks.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(name="task_idempotency", fields=("partner", "idempotency_key")),
            models.CheckConstraint(
                name="task_waiting_has_due_time",
                condition=Q(status__in=WAITING, next_attempt_at__isnull=False)
                | (~Q(status__in=WAITING) & Q(next_attempt_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="task_running_has_lease",
                condition=Q(status=Status.RUNNING, lease_token__isnull=False, lease_expires_at__isnull=False)
                | (~Q(status=Status.RUNNING) & Q(lease_token__isnull=True, lease_expires_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="task_finished_has_end",
                condition=Q(status__in=FINISHED, finished_at__isnull=False)
                | (~Q(status__in=FINISHED) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="task_dead_has_reason",
                condition=Q(status=Status.DEAD, dead_reason__isnull=False)
                | (~Q(status=Status.DEAD) & Q(dead_reason__isnull=True)),
            ),
            models.CheckConstraint(name="task_status_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(name="task_key_not_empty", condition=~Q(idempotency_key="")),
            models.CheckConstraint(
                name="task_numbers_sane",
                condition=Q(
                    rank__lte=HIGHEST_PRIORITY,
                    max_attempts__gte=1,
                    max_attempts__lte=retry.MAX_ATTEMPTS,
                    attempt_count__gte=models.F("attempts_before_requeue") + models.F("attempts_excused"),
                ),
            ),
        )
        indexes = (
            # claim, sweep: one range a partner and priority
            models.Index(name="task_claim", fields=("partner", "rank", "next_attempt_at")),
            # sweep: expired leases; claim: how many of a partner's are in flight
            models.Index(name="task_lease", fields=("lease_expires_at", "partner")),
            # retention: what ended so long ago; sweep: what is past its time (of what has not ended, which has neither of the two)
            models.Index(name="task_end", fields=("outcome", "finished_at", "expires_at")),
            # lists, newest first
            models.Index(name="task_list_partner", fields=("partner", "task_id")),
            models.Index(name="task_list_status", fields=("status_at_rest", "task_id")),
            models.Index(name="task_list_dead", fields=("dead_reason", "task_id")),
            # a partner's of one status, however much it has of others; how many of its are dead
            models.Index(name="task_partner_status", fields=("partner", "status_at_rest", "task_id")),
            # what failed last in one way; which tasks go to an address is answered by task_url (migration 0009)
            models.Index(name="task_list_error", fields=("last_error_code", "task_id")),
        )

    def __str__(self) -> str:
        return str(self.task_id)

    @property
    def priority(self) -> int:
        return HIGHEST_PRIORITY - self.rank

    @property
    def attempts_used(self) -> int:
        """Attempts of the present budget that count, a running one included."""
        return self.attempt_count - self.attempts_before_requeue - self.attempts_excused
