"""``manage.py audit [--object ID] [--actor NAME] [--action ACTION] [--since TIME] [--limit N] [--json]``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from notifier import audit_guard
from notifier.models import AuditEntry

MAX_LIMIT = 100_000


class Command(BaseCommand):
    help = (
        "Show the audit trail, newest first: who did what, on what, when, from where, and what it was before and after."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--object", metavar="ID", help="a partner's id, a task's id, or a key's first characters")
        parser.add_argument("--actor", metavar="NAME", help="a user's name, a key's first characters, or an account")
        parser.add_argument("--action", metavar="ACTION", help="such as partner.pause")
        parser.add_argument("--since", metavar="TIME", help="a time with its offset, such as 2026-01-31T12:00:00+00:00")
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="how many at most; 50 where left out")
        parser.add_argument("--json", action="store_true", help="one JSON object a line, with before and after")
        parser.add_argument(
            "--protect", action="store_true", help="make the triggers that keep the trail append-only, and show nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["protect"]:
                self._protect()
                return
            entries = list(_wanted(options))
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({error}). Has `manage.py migrate` run?") from None
        for entry in entries:
            self.stdout.write(_as_json(entry) if options["json"] else _as_line(entry))

    def _protect(self) -> None:
        if not audit_guard.install(connection):
            raise CommandError(
                "The database does not let this account make triggers. Grant it TRIGGER on the table "
                f"{audit_guard.TABLE} and, with a binary log, set log_bin_trust_function_creators=1; then run this again."
            )
        self.stdout.write("The database refuses to change or delete an entry of the audit trail.")


def _wanted(options: dict[str, Any]) -> Any:
    limit = options["limit"]
    if not 1 <= limit <= MAX_LIMIT:
        raise CommandError(f"--limit {limit} is not between 1 and {MAX_LIMIT}.")
    entries = AuditEntry.objects.order_by("-pk")
    for option, column in (("object", "object_id"), ("actor", "actor"), ("action", "action")):
        if options[option] is not None:
            entries = entries.filter(**{column: options[option]})
    if options["since"] is not None:
        entries = entries.filter(at__gte=_moment(options["since"]))
    return entries[:limit]


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError(f"--since {given!r} is not a time with its offset, such as 2026-01-31T12:00:00+00:00.")
    return moment.astimezone(UTC)


def _as_line(entry: AuditEntry) -> str:
    at = entry.at.isoformat(sep=" ", timespec="milliseconds")
    line = f"{at} {entry.actor_kind} {entry.actor} from {entry.origin or '?'}: {entry.action} {entry.object_kind} {entry.object_id}"
    states = [
        f"{word} {json.dumps(state)}" for word, state in (("before", entry.before), ("after", entry.after)) if state
    ]
    # A name may hold what a terminal would obey.
    return "".join(character if character.isprintable() else "?" for character in "; ".join([line, *states]))


def _as_json(entry: AuditEntry) -> str:
    columns = (
        "actor_kind", "actor", "origin", "request_id", "action", "object_kind", "object_id", "before", "after",
    )  # fmt: skip
    return json.dumps({"at": entry.at.isoformat()} | {name: getattr(entry, name) for name in columns})
