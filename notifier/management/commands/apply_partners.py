"""``manage.py apply_partners FILE.yaml [--dry-run]``."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, IntegrityError

from notifier import audit, partner_file, partners, secret_store
from notifier.models import Partner
from notifier.partner_file import Change, FileRefused
from notifier.transactions import atomically

LEFT_ALONE_NAMED = 5


@dataclass(slots=True)
class Plan:
    """What the file asks of the partners that exist."""

    added: list[Partner] = field(default_factory=list)
    changed: list[tuple[Partner, list[Change]]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    # Those that change, as they were.
    before: dict[str, Partner] = field(default_factory=dict)

    @property
    def counts(self) -> str:
        return f"{len(self.added)} added, {len(self.changed)} changed, {len(self.unchanged)} unchanged"


class Command(BaseCommand):
    help = (
        "Make partners as a YAML file says: a key left out means its default; partners that the file does not name, "
        "and whether a partner is paused, are left alone. All of the file is applied, or nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.yaml")
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")

    def handle(self, *args: Any, file: Path, dry_run: bool, **options: Any) -> None:
        wanted = _read(file)
        try:
            plan = _plan(wanted) if dry_run else atomically(lambda: _apply(wanted))
            others = _others(wanted)
        except IntegrityError:
            raise CommandError(
                "Somebody else made one of these partners just now; nothing was changed. Run it again."
            ) from None
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}); nothing was changed. Has `manage.py migrate` run?"
            ) from None
        for line in _lines(plan):
            self.stdout.write(line)
        for line in _missing(wanted):
            self.stderr.write(line)
        if others:
            self.stdout.write(others)
        self.stdout.write(f"Dry run, nothing was changed: {plan.counts}." if dry_run else f"Applied: {plan.counts}.")


def _read(file: Path) -> dict[str, Partner]:
    try:
        return partner_file.read(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}. Nothing was changed.") from None
    except FileRefused as error:
        separator = " " if len(error.sentences) == 1 else "\n"
        raise CommandError(f"{file} was refused and nothing was changed:{separator}{error}") from None


def _plan(wanted: Mapping[str, Partner], *, locked: bool = False) -> Plan:
    """Compare with what exists; ``locked`` so that nobody else changes it until the transaction ends."""
    found = Partner.objects.filter(partner_id__in=wanted).order_by("partner_id")
    existing = {partner.partner_id: partner for partner in (found.select_for_update() if locked else found)}
    plan = Plan()
    for partner_id, new in wanted.items():
        old = existing.get(partner_id)
        if old is None:
            plan.added.append(new)
        elif changes := partner_file.changes(old, new, sensitive=settings.NOTIFIER_SENSITIVE_HEADERS):
            plan.before[partner_id] = copy.copy(old)
            for change in changes:
                setattr(old, change.column, getattr(new, change.column))
            plan.changed.append((old, changes))
        else:
            plan.unchanged.append(partner_id)
    return plan


def _apply(wanted: Mapping[str, Partner]) -> Plan:
    plan, by = _plan(wanted, locked=True), audit.by_command()
    for partner, changes in plan.changed:
        # Only what changes: an operator may pause the partner at the same time.
        partner.save(update_fields=[*{change.column for change in changes}, "updated_at"])
        audit.record_partner(by, partner, plan.before[partner.partner_id])
    for partner in plan.added:
        # Unsaved again, should the transaction have to run a second time.
        partner.pk = None
        partner.save(force_insert=True)
        audit.record_partner(by, partner, None)
    return plan


def _lines(plan: Plan) -> Iterable[str]:
    for partner in plan.added:
        yield f"+ {partner.partner_id}"
    for partner, changes in plan.changed:
        for change in changes:
            yield f"~ {partner.partner_id} {change.shown}"
    for partner_id in plan.unchanged:
        yield f"= {partner_id} unchanged"


def _missing(wanted: Mapping[str, Partner]) -> Iterable[str]:
    """A sentence for each partner that names secrets which are not there: applied, but it cannot be sent to."""
    for partner_id, partner in wanted.items():
        named = partners.secrets_named(partner)
        if named and (missing := named - secret_store.backend().known(partner_id, named)):
            yield f"! {partner_id} names secrets that do not exist yet: {', '.join(sorted(missing))}"


def _others(wanted: Mapping[str, Partner]) -> str:
    others = [name for name in Partner.objects.values_list("partner_id", flat=True) if name not in wanted]
    if not others:
        return ""
    named = ", ".join(others[:LEFT_ALONE_NAMED]) + (", …" if len(others) > LEFT_ALONE_NAMED else "")
    return f"Left alone, because the file does not name them: {len(others)} ({named})."
