"""``manage.py rotate_secret_keys [--after TABLE=KEY …]``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import audit, key_rotation
from notifier.key_rotation import TABLES

NAMED = 5
# A line after so many batches.
SAY_EVERY = 50


class Command(BaseCommand):
    help = (
        "Seal everything in the database anew under the first of NOTIFIER_SEALING_KEYS, in short transactions beside the "
        "running service. When it has ended without a complaint, the other keys are no longer needed. It may be ended and "
        "started again at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--after",
            action="append",
            default=[],
            metavar="TABLE=KEY",
            help=f"go on behind this row, as an earlier run printed it; TABLE is one of {', '.join(TABLES)}",
        )

    def handle(self, *args: Any, after: list[str], **options: Any) -> None:
        looked_at: Counter[str] = Counter()
        resealed: Counter[str] = Counter()
        broken: list[str] = []
        reached = ""
        try:
            for number, progress in enumerate(key_rotation.rotate(after=_starts(after)), start=1):
                looked_at[progress.table] += progress.looked_at
                resealed[progress.table] += progress.resealed
                broken += [f"{progress.table} {key}" for key in progress.broken]
                reached = f"--after {progress.table}={progress.last_key}"
                if number % SAY_EVERY == 0:
                    self.stderr.write(f"{looked_at[progress.table]:,} {progress.table} looked at; {reached}")
        except (DatabaseError, KeyboardInterrupt) as error:
            raise CommandError(
                f"Ended before its end ({type(error).__name__}). What was done stays; start it again with {reached or 'nothing'}."
            ) from None
        if resealed.total():
            # Of a whole run. One that was ended before its end has none; what it did changes no secret, only its wrapping.
            after_all = {f"{table}_sealed_anew": resealed[table] for table in TABLES}
            audit.record(
                audit.by_command(), "secret.rotate_keys", object_kind="secret", object_id="all", after=after_all
            )
        for table in TABLES:
            self.stdout.write(f"{table}: {looked_at[table]:,} looked at, {resealed[table]:,} sealed anew.")
        if broken:
            named = ", ".join(broken[:NAMED]) + (", …" if len(broken) > NAMED else "")
            raise CommandError(
                f"{len(broken)} rows have something that none of the keys opens: {named}. Keep the old keys; where one was "
                "lost, set those secrets anew."
            )


def _starts(after: list[str]) -> dict[str, int]:
    starts: dict[str, int] = {}
    for each in after:
        table, _, key = each.partition("=")
        if table not in TABLES or not key.isdecimal():
            raise CommandError(f"--after {each[:80]!r} is not one of {', '.join(TABLES)}, an = and a number.")
        starts[table] = int(key)
        # Those before it are done.
        starts |= {done: 2**62 for done in TABLES[: TABLES.index(table)] if done not in starts}
    return starts
