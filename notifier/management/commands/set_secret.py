"""``manage.py set_secret PARTNER NAME [--overlap-hours H] [--generate hmac|ed25519]``; the value comes from standard input."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import clock
from notifier.management.secret_arguments import existing_partner, writable
from notifier.policy import signing
from notifier.secret_store import database

GENERATED_BYTES = 32


class Command(BaseCommand):
    help = (
        "Set a partner's secret, or a new version of it. The value is read from standard input, never from an argument, "
        "which other users of the machine could see. One line break at its end does not belong to it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("partner", metavar="PARTNER", help="the partner's id")
        parser.add_argument("name", metavar="NAME", help="as it is named in {{secret:NAME}} and in the partners file")
        parser.add_argument(
            "--overlap-hours",
            type=float,
            default=0.0,
            metavar="H",
            help="for how long earlier versions of a signing secret still sign beside this one (0)",
        )
        parser.add_argument(
            "--generate",
            choices=("hmac", "ed25519"),
            help="make a signing secret instead of reading one. What the partner needs to verify goes to standard output: "
            "the secret itself (hmac), or the public key (ed25519)",
        )

    def handle(
        self, *args: Any, partner: str, name: str, overlap_hours: float, generate: str | None, **options: Any
    ) -> None:
        writable()
        try:
            target = existing_partner(partner)
            value = _read(name) if generate is None else _generated(generate)
            overlap = timedelta(hours=min(max(overlap_hours, -1.0), 1e6))
            made = database.put(target, name, value, overlap=overlap, now=clock.now())
        except ValidationError as error:
            problems = (f"{field} {' '.join(sentences)}" for field, sentences in error.message_dict.items())
            raise CommandError(f"Nothing was set: {'; '.join(problems)}.") from None
        except DatabaseError as error:
            raise CommandError(
                f"Nothing was set: the database cannot be used ({type(error).__name__}). Has `manage.py migrate` run?"
            ) from None
        self.stderr.write(f"Secret {name} of {partner} is set, version {made.version}.", lambda text: text)
        if generate is not None:
            self.stdout.write(signing.public_key(value) if generate == "ed25519" else value)


def _read(name: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"Value of {name}: ")
    try:
        return sys.stdin.buffer.read(database.MAX_VALUE * 4 + 1).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        pass  # it holds what was read: what is raised must not have it as its context
    raise CommandError("Nothing was set: standard input is not UTF-8.")


def _generated(kind: str) -> str:
    random = os.urandom(GENERATED_BYTES)
    return signing.hmac_secret(random) if kind == "hmac" else signing.ed25519_secret(random)
