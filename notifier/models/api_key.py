"""API keys: who may ask for what. Only a hash is stored."""

from __future__ import annotations

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
    last_used_at = models.DateTimeField(null=True, blank=True, default=None)
    revoked_at = models.DateTimeField(null=True, blank=True, default=None)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
