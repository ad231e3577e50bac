"""``manage.py create_api_key NAME --scope notify:write [--scope …] [--partner ID …]``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import api_keys, clock
from notifier.models import ApiKey, Scope

MAX_DAYS = 3660


class Command(BaseCommand):
    help = "Make an API key. The key alone goes to standard output, once; everything else to standard error."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="whose key it is")
        parser.add_argument(
            "--scope",
            action="extend",
            nargs="+",
            default=[],
            dest="scopes",
            metavar="SCOPE",
            help=f"what it may do, once or more: {', '.join(Scope.values)}",
        )
        parser.add_argument(
            "--partner",
            action="extend",
            nargs="+",
            default=[],
            dest="partners",
            metavar="ID",
            help="the only partners that it may be used for; all, where this is left out",
        )

        parser.add_argument(
            "--rate", type=float, metavar="N", help="notifications a second; the setting's, where left out"
        )
        parser.add_argument(
            "--expires-in-days", type=float, metavar="DAYS", help="until it is refused; never, where left out"
        )

    def handle(self, *args: Any, name: str, scopes: list[str], partners: list[str], **options: Any) -> None:
        scopes, partners = list(dict.fromkeys(scopes)), list(dict.fromkeys(partners))
        try:
            wanted: dict[str, Any] = {
                "name": name, "scopes": scopes, "partners": partners, "rate_per_second": options["rate"],
                "expires_at": _ends(options["expires_in_days"]),
            }  # fmt: skip
            api_keys.validate(**wanted)
            key, plain = api_keys.create(**wanted)
        except ValidationError as error:
            problems = (
                f"{field}: {sentence}" for field, sentences in error.message_dict.items() for sentence in sentences
            )
            raise CommandError(f"No key was made: {'; '.join(problems)}.") from None
        except DatabaseError as error:
            raise CommandError(
                f"No key was made: the database cannot be used ({error}). Has `manage.py migrate` run?"
            ) from None
        self.stderr.write(self._description(key), lambda text: text)
        self.stdout.write(plain)

    @staticmethod
    def _description(key: ApiKey) -> str:
        partners = ", ".join(key.partners) or "all"
        return (
            f"API key {key.name!r} with {', '.join(key.scopes)} for partners: {partners}. It cannot be shown again; keep it "
            f"safe. To revoke it: manage.py revoke_api_key {key.prefix}"
        )


def _ends(days: float | None) -> datetime | None:
    if days is None:
        return None
    if not 0 < days <= MAX_DAYS:
        raise CommandError(f"No key was made: --expires-in-days {days:g} is not more than 0 and at most {MAX_DAYS}.")
    return clock.now() + timedelta(days=days)
