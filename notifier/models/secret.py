"""A partner's named secrets, encrypted. What reads and writes them is ``notifier.secret_store``."""

from __future__ import annotations

from django.db import models

from notifier.models.fields import ExactCharField
from notifier.models.partner import Partner


class PartnerSecret(models.Model):
    """One version of a named secret. The newest one is sent; all that have not retired sign."""

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="secrets", db_index=False)
    name = ExactCharField(max_length=64)
    version = models.PositiveIntegerField()
    # A Fernet token of notifier.sealing.
    sealed = models.TextField()
    created_at = models.DateTimeField()
    # From when on it is no longer used; NULL: the newest one, until a newer one or its removal.
    retires_at = models.DateTimeField(null=True, blank=True, default=None)

    class Meta:
        verbose_name = "secret"
        constraints = (models.UniqueConstraint(name="secret_version", fields=("partner", "name", "version")),)

    def __str__(self) -> str:
        return f"{self.name} of {self.partner_id}, version {self.version}"
