"""What the commands that set, list and remove secrets have in common."""

from __future__ import annotations

from django.conf import settings
from django.core.management.base import CommandError

from notifier.models import Partner


def writable() -> None:
    """``CommandError`` where the secrets are not the notifier's to write."""
    if settings.NOTIFIER_SECRETS_BACKEND != "database":
        raise CommandError(
            f"NOTIFIER_SECRETS_BACKEND is {settings.NOTIFIER_SECRETS_BACKEND}: secrets are set and removed there, not by this "
            "command. Nothing was changed."
        )


def existing_partner(partner_id: str) -> Partner:
    partner = Partner.objects.filter(partner_id=partner_id).first()
    if partner is None:
        raise CommandError(f"There is no partner {partner_id[:64]!r}; nothing was changed.")
    return partner
