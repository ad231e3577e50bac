"""What happened, counted by minute and by hour, so that a page about ten million attempts reads a few thousand rows.

Written by ``notifier.rollup`` alone. A row counts the attempts that ended in [start, start + span).
"""

from __future__ import annotations

from django.db import models

# Upper ends in milliseconds, the last one open: within a bucket a percentile is interpolated.
LATENCY_BOUNDS_MS = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
LATENCY_COLUMNS = tuple(f"latency_{number}" for number in range(len(LATENCY_BOUNDS_MS) + 1))
COUNTS = ("succeeded", "failed", "unknown", *LATENCY_COLUMNS)


class Span(models.IntegerChoices):
    MINUTE = 60
    HOUR = 3600


class PartnerRollup(models.Model):
    """Attempts of one partner. ``unknown``: what the partner got is not known, as its lease ran out."""

    span = models.PositiveSmallIntegerField(choices=Span)
    start = models.DateTimeField()
    # No constraint: what happened stays counted when the partner is deleted, until retention takes it.
    partner_key = models.BigIntegerField()
    succeeded = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    unknown = models.PositiveIntegerField(default=0)
    latency_0 = models.PositiveIntegerField(default=0)
    latency_1 = models.PositiveIntegerField(default=0)
    latency_2 = models.PositiveIntegerField(default=0)
    latency_3 = models.PositiveIntegerField(default=0)
    latency_4 = models.PositiveIntegerField(default=0)
    latency_5 = models.PositiveIntegerField(default=0)
    latency_6 = models.PositiveIntegerField(default=0)
    latency_7 = models.PositiveIntegerField(default=0)
    latency_8 = models.PositiveIntegerField(default=0)
    latency_9 = models.PositiveIntegerField(default=0)
    latency_10 = models.PositiveIntegerField(default=0)
    latency_11 = models.PositiveIntegerField(default=0)
    latency_12 = models.PositiveIntegerField(default=0)

    # What all partners' rows of a time add up to is stored as one more of them.
    ALL = 0

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(name="rollup_partner", fields=("span", "partner_key", "start")),)
        indexes = (  # All that finding those who failed most in a week reads: with span and start alone that page took 435 ms, so 89.
            models.Index(
                name="rollup_start", fields=("span", "start", "partner_key", "succeeded", "failed", "unknown")
            ),
        )

    def __str__(self) -> str:
        return f"partner {self.partner_key}, {self.span} s from {self.start}"


class ErrorRollup(models.Model):
    """Attempts that failed with one error code."""

    span = models.PositiveSmallIntegerField(choices=Span)
    start = models.DateTimeField()
    error_code = models.CharField(max_length=64)
    failed = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(name="rollup_error", fields=("span", "start", "error_code")),)

    def __str__(self) -> str:
        return f"{self.error_code}, {self.span} s from {self.start}"


class RollupState(models.Model):
    """How far the counting has come: one row, locked by who counts."""

    name = models.CharField(max_length=16, primary_key=True)
    done_until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} until {self.done_until}"
