"""API keys: who may ask for what. Only a hash is stored."""

from __future__ import annotations

from datetime import datetime

from django.db import models


class Scope(models.TextChoices):
    WRITE = "notify:write"  # create, cancel own
    READ = "notify:read"  # read
    OPERATE = "notify:operate"  # requeue, cancel any, pause and resume partners


class ApiKey(models.Model):
    """Made by ``notifier.api_keys``, which alone sees the key's plain text, once."""

    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=16, unique=True)
    hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    # partner_ids that the key may use; empty: all
    partners = models.JSONField(default=list, blank=True)
    # Accepts a second; NULL: what the setting says
    rate_per_second = models.FloatField(null=True, blank=True, default=None)
    # The key that this one came from by rotations: both own the same tasks and share one rate. NULL: itself.
    first_key = models.BigIntegerField(null=True, default=None, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, default=None)
    expires_at = models.DateTimeField(null=True, blank=True, default=None)
    revoked_at = models.DateTimeField(null=True, blank=True, default=None)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def usable(self, now: datetime) -> bool:
        """Neither revoked nor expired. Whoever keeps a copy of the row asks this again at each use."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def lineage(self) -> int:
        """The same for a key and for those that it was rotated to."""
        return self.first_key or self.pk


class KeyAllowance(models.Model):
    """What the web processes have drawn of a key's rate. Written by ``notifier.accept_limit`` alone.

    A row of its own: it changes a few times a second, and the key's row is read with every request.
    """

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="allowance")
    tokens = models.FloatField()
    tokens_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"allowance of key {self.pk}"
