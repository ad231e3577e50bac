"""A partner: who receives, where it may be reached, and by which policy."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db import models, transaction

from notifier import sealing
from notifier.models.fields import ExactCharField
from notifier.policy import circuit, retry
from notifier.policy.circuit import Circuit, CircuitPolicy, State
from notifier.policy.classify import DEFAULT_PERMANENT_STATUSES
from notifier.policy.condition import DEFAULT_CONDITION
from notifier.policy.flow import Flow, Limits


def default_permanent_statuses() -> list[int]:
    return list(DEFAULT_PERMANENT_STATUSES)


class Partner(models.Model):
    """Configuration only: what changes while delivering, such as a pause, lives in PartnerState and in the tasks.

    Validated by ``notifier.partners`` before every save, whether it comes from a file or from the admin.
    """

    class JitterKind(models.TextChoices):
        FULL = retry.Jitter.FULL.value, "full: anywhere between zero and the backoff"
        NONE = retry.Jitter.NONE.value, "none: exactly the backoff"

    partner_id = ExactCharField(max_length=64, unique=True)
    name = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True)

    allow_hosts = models.JSONField(default=list, blank=True)
    allow_private_cidrs = models.JSONField(default=list, blank=True)
    connect_timeout_seconds = models.FloatField(default=3.0)
    timeout_seconds = models.FloatField(default=5.0)
    # name → value, or name → {"sealed": token} for a sensitive one; a value may name secrets
    headers = models.JSONField(default=dict, blank=True)

    # How it wants to be authenticated to: policy.partner_auth. They name secrets and never hold any.
    auth = models.JSONField(null=True, blank=True, default=None)
    signing_secrets = models.JSONField(default=list, blank=True)
    client_certificate = models.JSONField(null=True, blank=True, default=None)
    # Whether the bodies of notifications are encrypted in the table, and nothing of the partner's answers is kept.
    seal_bodies = models.BooleanField(default=False, db_default=False)

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

    # When the circuit opens, and for how long; no ratio: never by itself.
    circuit_failure_ratio = models.FloatField(null=True, blank=True, default=circuit.DEFAULT_FAILURE_RATIO)
    circuit_min_attempts = models.PositiveIntegerField(default=circuit.DEFAULT_MIN_ATTEMPTS)
    circuit_window_seconds = models.FloatField(default=circuit.DEFAULT_WINDOW_SECONDS)
    circuit_pause_seconds = models.FloatField(default=circuit.DEFAULT_PAUSE_SECONDS)
    circuit_max_pause_seconds = models.FloatField(default=circuit.DEFAULT_MAX_PAUSE_SECONDS)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("partner_id",)
        # Pause, resume, circuit, hold: for operators, who may not change the configuration.
        permissions = (("operate_partner", "Can operate partner"),)
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
        """Save with sensitive headers sealed, and see to it that the partner has its state row: the claim locks that."""
        self.headers = sealing.seal_headers(self.headers)
        with transaction.atomic():
            super().save(*args, **kwargs)
            PartnerState.objects.get_or_create(partner_id=self.pk)

    @cached_property
    def opened_headers(self) -> dict[str, str]:
        """The default headers as they are sent; raises ``SealBroken``. Opened once in the life of this instance."""
        return sealing.open_headers(self.headers)[0]

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

    @property
    def limits(self) -> Limits:
        return Limits(rate_per_second=self.rate_per_second, burst=self.burst, max_concurrency=self.max_concurrency)

    @property
    def circuit_policy(self) -> CircuitPolicy:
        return CircuitPolicy(
            failure_ratio=self.circuit_failure_ratio,
            min_attempts=self.circuit_min_attempts,
            window_seconds=self.circuit_window_seconds,
            pause_seconds=self.circuit_pause_seconds,
            max_pause_seconds=self.circuit_max_pause_seconds,
        )


class PartnerState(models.Model):
    """What holds a partner back or not: pause, hold, circuit, tokens. Written by ``notifier.partner_flow`` alone.

    The row that a claim locks, so that one claim at a time decides for each partner. A row of its own, because inserting
    a task takes a shared lock on its Partner, which would make a claim wait.
    """

    class CircuitState(models.TextChoices):
        CLOSED = State.CLOSED.value
        OPEN = State.OPEN.value
        HALF_OPEN = State.HALF_OPEN.value

    partner = models.OneToOneField(Partner, on_delete=models.CASCADE, primary_key=True, related_name="state")
    paused_at = models.DateTimeField(null=True, default=None)
    # A Retry-After of the partner's.
    hold_until = models.DateTimeField(null=True, default=None)
    held_at = models.DateTimeField(null=True, default=None)
    # The token bucket of rate_per_second; NULL: full.
    tokens = models.FloatField(null=True, default=None)
    tokens_at = models.DateTimeField(null=True, default=None)
    # The fields of policy.circuit.Circuit
    circuit_state = models.CharField(max_length=9, choices=CircuitState, default=CircuitState.CLOSED)
    circuit_since = models.DateTimeField(null=True, default=None)
    circuit_reason = models.CharField(max_length=200, default="", blank=True)
    circuit_probe_at = models.DateTimeField(null=True, default=None)
    circuit_openings = models.PositiveIntegerField(default=0)
    circuit_attempts = models.FloatField(default=0.0)
    circuit_failures = models.FloatField(default=0.0)
    circuit_counted_at = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return f"state of partner {self.pk}"

    def flow(self, *, enabled: bool = True) -> Flow:
        """What the rules ask about."""
        return Flow(
            enabled=enabled,
            paused_at=self.paused_at,
            hold_until=self.hold_until,
            held_at=self.held_at,
            circuit=self.circuit,
            tokens=self.tokens,
            tokens_at=self.tokens_at,
        )

    @property
    def circuit(self) -> Circuit:
        return Circuit(
            state=State(self.circuit_state),
            since=self.circuit_since,
            reason=self.circuit_reason,
            probe_at=self.circuit_probe_at,
            openings=self.circuit_openings,
            attempts=self.circuit_attempts,
            failures=self.circuit_failures,
            counted_at=self.circuit_counted_at,
        )
