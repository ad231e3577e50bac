"""``manage.py create_api_key NAME --scope notify:write [--scope …] [--partner ID …]``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import api_keys
from notifier.models import ApiKey, Scope


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

    def handle(self, *args: Any, name: str, scopes: list[str], partners: list[str], **options: Any) -> None:
        scopes, partners = list(dict.fromkeys(scopes)), list(dict.fromkeys(partners))
        try:
            api_keys.validate(name=name, scopes=scopes, partners=partners)
            key, plain = api_keys.create(name=name, scopes=scopes, partners=partners)
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
