"""``manage.py check_target URL --partner ID``."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifier import clock, dry_run
from notifier.models import Partner


class Command(BaseCommand):
    help = (
        "Go the way of a delivery without sending anything: URL, allow-list, DNS, address, TCP, TLS, certificate. "
        "Exit code 0 where everything is in order, 1 at the first step that is not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", metavar="URL")
        parser.add_argument("--partner", required=True, metavar="ID", help="by whose rules")

    def handle(self, *args: Any, url: str, partner: str, **options: Any) -> None:
        try:
            found = Partner.objects.filter(partner_id=partner).first()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({error}). Has `manage.py migrate` run?") from None
        if found is None:
            raise CommandError(f"There is no partner {partner!r}; `manage.py apply_partners FILE.yaml` makes partners.")
        ok = True
        for step in dry_run.steps(url, found, now=clock.now()):
            ok = step.ok
            self.stdout.write(f"{'ok  ' if ok else 'FAIL'} {step.name:<11} {step.found}")
        if not found.enabled:
            self.stdout.write("note: the partner is disabled; it is sent nothing.")
        self.stdout.write(
            "Nothing was sent. A delivery would go this way." if ok else "Nothing was sent. A delivery would fail here."
        )
        if not ok:
            sys.exit(1)
