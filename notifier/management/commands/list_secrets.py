"""``manage.py list_secrets [PARTNER]``: names, versions and times, never values."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from notifier.management.secret_arguments import existing_partner, writable
from notifier.models import PartnerSecret


class Command(BaseCommand):
    help = "List partners' secrets: names, versions, since when, and until when an earlier one is used. No values."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("partner", metavar="PARTNER", nargs="?", help="the partner's id; all, where it is left out")

    def handle(self, *args: Any, partner: str | None, **options: Any) -> None:
        writable()
        secrets = PartnerSecret.objects.order_by("partner__partner_id", "name", "-version")
        if partner is not None:
            secrets = secrets.filter(partner=existing_partner(partner))
        columns = secrets.values_list("partner__partner_id", "name", "version", "created_at", "retires_at")
        for partner_id, name, version, created_at, retires_at in columns.iterator(chunk_size=500):
            until = "" if retires_at is None else f" until {retires_at.isoformat(timespec='seconds')}"
            self.stdout.write(
                f"{partner_id} {name} version {version} since {created_at.isoformat(timespec='seconds')}{until}"
            )
