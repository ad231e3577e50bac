"""``manage.py revoke_api_key PREFIX``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import api_keys, clock
from notifier.models import ApiKey


class Command(BaseCommand):
    help = "Refuse an API key from now on. What was accepted with it is still delivered."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", metavar="PREFIX", help=f"the key's first {api_keys.PREFIX_LENGTH} characters")

    def handle(self, *args: Any, prefix: str, **options: Any) -> None:
        try:
            key = ApiKey.objects.filter(prefix=prefix).first()
            revoked = key is not None and api_keys.revoke(key, now=clock.now())
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({error}). Has `manage.py migrate` run?") from None
        if key is None:
            raise CommandError(api_keys.NO_SUCH_PREFIX)
        self.stdout.write(f"API key {key} {'is revoked' if revoked else 'was revoked already'}.")
