"""The audit trail: who did what, on what, when and from where. Rows are added by ``notifier.audit``; nothing changes or deletes one."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models


class AppendOnlyError(TypeError):
    """Somebody tried to change or delete an entry of the audit trail."""

    def __init__(self) -> None:
        super().__init__("The audit trail is append-only: its entries are neither changed nor deleted.")


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Reads and inserts. Triggers in the database refuse the same to those who go around this (migration 0004)."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def delete(self) -> NoReturn:
        raise AppendOnlyError

    def _raw_delete(self, using: str | None) -> NoReturn:
        raise AppendOnlyError

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def update_or_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError


class AuditEntry(models.Model):
    class Actor(models.TextChoices):
        KEY = "api_key"
        USER = "user"
        COMMAND = "command"

    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=8, choices=Actor)
    # An API key's prefix, a user's name, or the account that ran the command.
    actor = models.CharField(max_length=200)
    # The address that the request came from, or the machine of the command.
    origin = models.CharField(max_length=255, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    # What was done, such as partner.pause
    action = models.CharField(max_length=64)
    object_kind = models.CharField(max_length=32)
    object_id = models.CharField(max_length=255)
    # What of it was changed: as it was, and as it is. Secrets are masked before they come here.
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    objects = AppendOnly.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        default_permissions = ("view",)
        indexes = (models.Index(fields=("object_kind", "object_id", "id"), name="audit_object"),)

    def __str__(self) -> str:
        return f"{self.action} {self.object_id} by {self.actor}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; an entry that is stored already is refused."""
        if not self._state.adding:
            raise AppendOnlyError
        super().save(force_insert=True)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError
