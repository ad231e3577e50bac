"""Secrets in the database, encrypted by ``notifier.sealing``: set and removed here, by commands and the admin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ValidationError
from django.db.models import Max, Q, QuerySet

from notifier import audit, clock, sealing
from notifier.audit import Actor
from notifier.models import Partner, PartnerSecret
from notifier.policy import signing
from notifier.policy.partner_auth import SECRET_NAME, SECRET_NAME_RULE
from notifier.transactions import atomically

MAX_VALUE = 65_536
MAX_OVERLAP = timedelta(days=366)


class DatabaseBackend:
    def known(self, partner_id: str, names: Collection[str]) -> set[str]:
        return set(_in_use(partner_id, names, clock.now()).values_list("name", flat=True))

    def values(self, partner_id: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """One query. A version that cannot be opened with this process's keys raises ``SealBroken``."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        rows = _in_use(partner_id, names, clock.now()).order_by("name", "-version")
        for name, sealed in rows.values_list("name", "sealed"):
            found[name].append(sealing.unseal(sealed))
        return {name: tuple(versions) for name, versions in found.items()}


def put(
    partner: Partner,
    name: str,
    value: str,
    *,
    overlap: timedelta = timedelta(0),
    now: datetime,
    by: Actor | None = None,
) -> PartnerSecret:
    """Make the value the secret's newest version; earlier ones retire after ``overlap`` at the latest. It is audited.

    Raises ``ValidationError`` where name, value or overlap cannot be used. One transaction: after a crash either both
    are so or nothing is. Versions that had retired before are erased.
    """
    validate(name=name, value=value, overlap=overlap)

    def write() -> PartnerSecret:
        # Two at once: the second waits here, and makes the version after.
        Partner.objects.select_for_update().only("pk").get(pk=partner.pk)
        versions = PartnerSecret.objects.filter(partner=partner, name=name)
        newest = versions.aggregate(newest=Max("version"))["newest"] or 0
        versions.filter(retires_at__lte=now).delete()
        retires_at = now + overlap
        versions.filter(Q(retires_at__isnull=True) | Q(retires_at__gt=retires_at)).update(retires_at=retires_at)
        made = PartnerSecret.objects.create(
            partner=partner, name=name, version=newest + 1, sealed=sealing.seal(value), created_at=now
        )
        after = {"version": made.version, "earlier_retire_at": retires_at.isoformat() if newest else None}
        _note(by, "secret.set", partner, name, after=after)
        return made

    return atomically(write)


def remove(partner: Partner, name: str, *, version: int | None = None, by: Actor | None = None) -> int:
    """Erase all versions of the secret, or one; returns how many there were. It is audited.

    What names a secret without a version fails until it is there again.
    """

    def erase() -> int:
        doomed = PartnerSecret.objects.filter(partner=partner, name=name)
        if version is not None:
            doomed = doomed.filter(version=version)
        versions = sorted(doomed.select_for_update().values_list("version", flat=True))
        if versions:
            doomed.delete()
            _note(by, "secret.remove", partner, name, before={"versions": versions})
        return len(versions)

    return atomically(erase)


def _note(
    by: Actor | None,
    action: str,
    partner: Partner,
    name: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    by = by or audit.by_command()
    audit.record(by, action, object_kind="secret", object_id=f"{partner.partner_id}/{name}", before=before, after=after)


def validate(*, name: str, value: str, overlap: timedelta) -> None:
    """Raise ``ValidationError`` with a sentence for each that cannot be used. The value is not repeated in any."""
    errors: dict[str, str] = {}
    if not SECRET_NAME.fullmatch(name):
        errors["name"] = f"must be {SECRET_NAME_RULE}"
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        errors["overlap"] = f"must be between 0 hours and {MAX_OVERLAP.days} days"
    if problem := _problem(value):
        errors["value"] = problem
    if errors:
        raise ValidationError(errors)


def _problem(value: str) -> str | None:
    if not value:
        return "is empty"
    if "\0" in value or len(value) > MAX_VALUE:
        return f"must be at most {MAX_VALUE} characters, without a NUL"
    if value.startswith((signing.HMAC_PREFIX, signing.ED25519_PREFIX)):
        try:
            signing.check(value)
        except signing.BadKey as error:
            return f"looks like a signing secret and is none: {error}"
    if "PRIVATE KEY-----" in value:
        try:
            load_pem_private_key(value.encode(), password=None)
        except TypeError:
            return "is a private key with a passphrase; nobody could type it in. Store it without"
        except ValueError:
            return "looks like a private key in PEM and is none"
    return None


def _in_use(partner_id: str, names: Collection[str], now: datetime) -> QuerySet[PartnerSecret]:
    in_use = Q(retires_at__isnull=True) | Q(retires_at__gt=now)
    return PartnerSecret.objects.filter(in_use, partner__partner_id=partner_id, name__in=names)
