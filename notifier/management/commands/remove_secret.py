"""``manage.py remove_secret PARTNER NAME``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier.management.secret_arguments import existing_partner, writable
from notifier.secret_store import database


class Command(BaseCommand):
    help = "Erase a partner's secret with all its versions. Notifications that need it fail until it is set again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("partner", metavar="PARTNER", help="the partner's id")
        parser.add_argument("name", metavar="NAME", help="the secret's name")

    def handle(self, *args: Any, partner: str, name: str, **options: Any) -> None:
        writable()
        try:
            erased = database.remove(existing_partner(partner), name)
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({type(error).__name__}). Has `manage.py migrate` run?"
            ) from None
        if not erased:
            raise CommandError(f"{partner} has no secret of this name; nothing was changed.")
        self.stdout.write(f"Secret {name} of {partner} is erased ({erased} version{'s' if erased > 1 else ''}).")
