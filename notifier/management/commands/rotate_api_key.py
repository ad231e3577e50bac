"""``manage.py rotate_api_key PREFIX [--overlap-hours 24]``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import api_keys, clock
from notifier.models import ApiKey

MAX_OVERLAP_HOURS = 24 * 90


class Command(BaseCommand):
    help = (
        "Make a new API key in place of one: with its name, scopes, partners, rate and tasks. Both are good until the overlap is over. "
        "The new key alone goes to standard output, once; everything else to standard error."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", metavar="PREFIX", help=f"the key's first {api_keys.PREFIX_LENGTH} characters")
        parser.add_argument(
            "--overlap-hours",
            type=float,
            default=api_keys.DEFAULT_OVERLAP / timedelta(hours=1),
            metavar="HOURS",
            help="how long the old key is good beside the new one; 24 where left out, 0 to end it now",
        )

    def handle(self, *args: Any, prefix: str, overlap_hours: float, **options: Any) -> None:
        if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
            raise CommandError(
                f"--overlap-hours {overlap_hours:g} is not between 0 and {MAX_OVERLAP_HOURS}; nothing was changed."
            )
        try:
            key = ApiKey.objects.filter(prefix=prefix).first()
            overlap = timedelta(hours=overlap_hours)
            made = None if key is None else api_keys.rotate(key, overlap=overlap, now=clock.now())
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({error}). Has `manage.py migrate` run?") from None
        if key is None:
            raise CommandError(api_keys.NO_SUCH_PREFIX)
        if made is None:
            raise CommandError(
                f"API key {key} was revoked or has expired; nothing was changed. Make a new one instead."
            )
        new, plain = made
        key.refresh_from_db()
        self.stderr.write(
            f"API key {key} is good until {key.expires_at:%Y-%m-%d %H:%M:%S} UTC; its successor is {new}. "
            "It cannot be shown again; keep it safe.",
            lambda text: text,
        )
        self.stdout.write(plain)
