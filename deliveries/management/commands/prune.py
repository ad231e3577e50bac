"""``manage.py prune``."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from deliveries import prune

PROGRESS_SECONDS = 2.0


class Command(BaseCommand):
    help = (
        "Delete notifications that ended long ago, with their attempts, as beat does every 30 s. How long each outcome "
        "is kept is in NOTIFIER_KEEP_SUCCEEDED_DAYS, NOTIFIER_KEEP_CANCELLED_DAYS and NOTIFIER_KEEP_DEAD_DAYS. "
        "It may be stopped at any time, and run beside workers and other prunes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--most-seconds", type=float, default=float("inf"), metavar="N", help="begin no batch after this time"
        )

    def handle(self, *args: Any, most_seconds: float, **options: Any) -> None:
        for retention in prune.retentions():
            self.stdout.write(f"{retention.outcome}: those that ended more than {retention.keep.days} days ago")
        deleted: Counter[str] = Counter()
        show_at = time.monotonic() + PROGRESS_SECONDS
        try:
            for batch in prune.prune(most_seconds=most_seconds):
                deleted[batch.outcome] += batch.tasks
                if time.monotonic() >= show_at:
                    show_at = time.monotonic() + PROGRESS_SECONDS
                    self.stdout.write(_progress(batch.outcome, deleted[batch.outcome], batch.up_to))
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}). {_total(deleted)} Run it again for the rest."
            ) from None
        self.stdout.write(_total(deleted))


def _progress(outcome: str, count: int, up_to: datetime) -> str:
    return f"  {count:,} {outcome} deleted, up to {up_to:%Y-%m-%d %H:%M} UTC"


def _total(deleted: Counter[str]) -> str:
    if not deleted:
        return "Nothing was deleted."
    parts = ", ".join(f"{count:,} {outcome}" for outcome, count in deleted.items())
    return f"Deleted {deleted.total():,} notifications ({parts})."
