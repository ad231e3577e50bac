"""A partner: who receives, where it may be reached, and by which policy."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction

from notifier.models.fields import ExactCharField
from notifier.policy import retry
from notifier.policy.classify import DEFAULT_PERMANENT_STATUSES
from notifier.policy.condition import DEFAULT_CONDITION


def default_permanent_statuses() -> list[int]:
    return list(DEFAULT_PERMANENT_STATUSES)


class Partner(models.Model):
    """Configuration only: what changes while delivering lives in PartnerState and in the tasks.

    Validated by ``notifier.partners`` before every save, whether it comes from a file or from the admin.
    """

    class JitterKind(models.TextChoices):
        FULL = retry.Jitter.FULL.value, "full: anywhere between zero and the backoff"
        NONE = retry.Jitter.NONE.value, "none: exactly the backoff"

    partner_id = ExactCharField(max_length=64, unique=True)
    name = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True)
    paused = models.BooleanField(default=False)

    allow_hosts = models.JSONField(default=list, blank=True)
    allow_private_cidrs = models.JSONField(default=list, blank=True)
    connect_timeout_seconds = models.FloatField(default=3.0)
    timeout_seconds = models.FloatField(default=5.0)
    headers = models.JSONField(default=dict, blank=True)

    retry_base_seconds = models.FloatField(default=retry.DEFAULT_BASE_SECONDS)
    retry_factor = models.FloatField(default=retry.DEFAULT_FACTOR)
    retry_max_seconds = models.FloatField(default=retry.DEFAULT_MAX_SECONDS)
    retry_jitter = models.CharField(max_length=8, choices=JitterKind, default=JitterKind.FULL)
    # Instead of the backoff: the wait in seconds after the first failure, the second, …
    retry_schedule = models.JSONField(null=True, blank=True, default=None)
    max_attempts = models.PositiveSmallIntegerField(default=retry.DEFAULT_MAX_ATTEMPTS)
    max_age_hours = models.FloatField(default=72.0)

    success_condition = models.CharField(max_length=1024, default=DEFAULT_CONDITION)
    permanent_statuses = models.JSONField(default=default_permanent_statuses, blank=True)

    rate_per_second = models.FloatField(null=True, blank=True)
    burst = models.PositiveIntegerField(null=True, blank=True)
    max_concurrency = models.PositiveIntegerField(null=True, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("partner_id",)
        constraints = (
            models.CheckConstraint(
                name="partner_timeouts_sane",
                condition=models.Q(connect_timeout_seconds__gt=0, timeout_seconds__gt=0),
            ),
            models.CheckConstraint(
                name="partner_attempts_sane", condition=models.Q(max_attempts__gte=1, max_attempts__lte=100)
            ),
        )

    def __str__(self) -> str:
        return str(self.partner_id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and see to it that the partner has its state row: the claim locks that."""
        with transaction.atomic():
            super().save(*args, **kwargs)
            PartnerState.objects.get_or_create(partner_id=self.pk)

    @property
    def retry_policy(self) -> retry.RetryPolicy:
        if self.retry_schedule:
            return retry.Schedule(tuple(float(seconds) for seconds in self.retry_schedule))
        return retry.Backoff(
            base_seconds=self.retry_base_seconds,
            factor=self.retry_factor,
            max_seconds=self.retry_max_seconds,
            jitter=retry.Jitter(self.retry_jitter),
        )


class PartnerState(models.Model):
    """The row that a claim locks: one claim at a time for each partner.

    A row of its own, because inserting a task takes a shared lock on its Partner, which would make a claim wait.
    """

    partner = models.OneToOneField(Partner, on_delete=models.CASCADE, primary_key=True, related_name="state")
    claimed_at = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return f"state of partner {self.pk}"
