"""API keys: made, found again by their hash, changed, rotated, revoked. The plain key exists once, in the answer to its making.

Every change is in the audit trail, in the same transaction; neither the key nor its hash ever is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q

from notifier import audit, clock
from notifier.audit import Actor
from notifier.models import ApiKey, Partner, Scope
from notifier.recent import Recent
from notifier.transactions import atomically

MARK = "ntf_"
PREFIX_LENGTH = 12
MAX_NAME = 200
# The prefix is not repeated: it may be a whole key.
NO_SUCH_PREFIX = (
    f"There is no API key with this prefix, which is a key's first {PREFIX_LENGTH} characters; nothing was changed."
)
# A key's last use is written at most this often.
LAST_USE_STEP = timedelta(minutes=1)
MIN_RATE, MAX_RATE = 0.1, 1_000_000
DEFAULT_OVERLAP = timedelta(hours=24)
# What may be changed of a key, and what the audit trail has of it.
CHANGEABLE = ("name", "scopes", "partners", "rate_per_second", "expires_at")
# A key's row is kept for so long; within 5 s of its revocation nobody may use a key any more.
MAX_AGE_SECONDS = 2.0

_recent: Recent[str, ApiKey] = Recent(MAX_AGE_SECONDS)


def validate(
    *,
    name: str,
    scopes: Sequence[str],
    partners: Sequence[str],
    rate_per_second: float | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Raise ``ValidationError`` with a sentence for each field that cannot be used."""
    errors: dict[str, str] = {}
    if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
        errors["name"] = f"must be 1 to {MAX_NAME} printable characters"
    unknown_scopes = [scope for scope in scopes if scope not in Scope.values]
    if not scopes:
        errors["scopes"] = f"must name at least one of {', '.join(Scope.values)}"
    elif unknown_scopes:
        errors["scopes"] = f"{unknown_scopes[0]!r} is not one of {', '.join(Scope.values)}"
    existing = set(Partner.objects.filter(partner_id__in=partners).values_list("partner_id", flat=True))
    missing = [partner for partner in partners if partner not in existing]
    if missing:
        errors["partners"] = f"there is no partner {missing[0]!r}"
    if rate_per_second is not None and not MIN_RATE <= rate_per_second <= MAX_RATE:
        errors["rate_per_second"] = f"must be between {MIN_RATE:g} and {MAX_RATE}"
    if expires_at is not None and expires_at <= clock.now():
        errors["expires_at"] = "must be in the future"
    if errors:
        raise ValidationError(errors)


def create(
    *,
    name: str,
    scopes: Sequence[str],
    partners: Sequence[str] = (),
    plain: str | None = None,
    rate_per_second: float | None = None,
    expires_at: datetime | None = None,
    by: Actor | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and its plain text, which cannot be had again. Without ``by`` it is a command's."""
    plain = plain or _plain()
    columns: dict[str, Any] = {
        "name": name,
        "scopes": list(scopes),
        "partners": list(partners),
        "rate_per_second": rate_per_second,
        "expires_at": expires_at,
    }
    return atomically(lambda: _insert(plain, columns, by)), plain


def _plain() -> str:
    return f"{MARK}{secrets.token_urlsafe(32)}"  # 256 bits


def _insert(plain: str, columns: dict[str, Any], by: Actor | None) -> ApiKey:
    key = ApiKey.objects.create(prefix=plain[:PREFIX_LENGTH], hash=_hash(plain), **columns)
    _note(by, "key.create", key, after=_state(key))
    return key


def find(plain: str) -> ApiKey | None:
    """The key of this plain text, or None where there is none, or it was revoked or has expired.

    Its row is read at most every ``MAX_AGE_SECONDS``: a key that another process revoked or changed is refused after that,
    one that this process did at once. Hash and end are looked at each time.
    """
    prefix = plain[:PREFIX_LENGTH]
    key = _recent.get(prefix)
    if key is None:
        read_at = _recent.begin()
        key = ApiKey.objects.filter(prefix=prefix).first()
        if key is not None and key.prefix != prefix:
            key = None  # found by a collation that takes other letters for the same
        if key is not None:
            # What does not exist is asked for again, so nobody can fill the memory with it.
            _recent.put(prefix, key, read_at=read_at)
    # The comparison is made whether there is a row or not, and takes the same time wherever the hashes differ.
    same = hmac.compare_digest(_hash("") if key is None else key.hash, _hash(plain))
    return key if key is not None and same and key.usable(clock.now()) else None


def change(key: ApiKey, *, by: Actor, **changes: Any) -> bool:
    """Write these fields of the key, and no others; False where nothing differs from what is stored."""

    def write() -> bool:
        stored = ApiKey.objects.select_for_update().get(pk=key.pk)
        before = _state(stored)
        after = before | {name: _json(value) for name, value in changes.items() if name in CHANGEABLE}
        differing = [name for name in after if after[name] != before[name]]
        if not differing:
            return False
        ApiKey.objects.filter(pk=key.pk).update(**{name: changes[name] for name in differing})
        _note(
            by, "key.change", key, {name: before[name] for name in differing}, {name: after[name] for name in differing}
        )
        return True

    changed = atomically(write)
    _recent.forget(key.prefix)
    return changed


def rotate(key: ApiKey, *, overlap: timedelta, now: datetime, by: Actor | None = None) -> tuple[ApiKey, str] | None:
    """A new key with the same rights, tasks and rate; the old one ends after ``overlap``, or when it would have ended before.

    None, and nothing changed, where the key was revoked or has expired. Both are committed together: a crash leaves the old
    key alone, as it was.
    """

    def turn() -> tuple[ApiKey, str] | None:
        old = ApiKey.objects.select_for_update().get(pk=key.pk)
        if not old.usable(now):
            return None
        plain = _plain()
        new = _insert(plain, {name: getattr(old, name) for name in CHANGEABLE} | {"first_key": old.lineage}, by)
        ends = now + overlap if old.expires_at is None else min(old.expires_at, now + overlap)
        ApiKey.objects.filter(pk=old.pk).update(expires_at=ends)
        before, after = {"expires_at": _json(old.expires_at)}, {"expires_at": _json(ends), "replaced_by": new.prefix}
        _note(by, "key.rotate", old, before, after)
        return new, plain

    turned = atomically(turn)
    _recent.forget(key.prefix)
    return turned


def touch(key: ApiKey, *, now: datetime) -> None:
    """Note that the key was used now, at most once a minute."""
    if key.last_used_at is None or key.last_used_at < now - LAST_USE_STEP:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - LAST_USE_STEP)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
        # The row is shared by the requests of the next seconds.
        key.last_used_at = now


def revoke(key: ApiKey, *, now: datetime, by: Actor | None = None) -> bool:
    """Refuse the key from now on; False where it was revoked already."""

    def end() -> bool:
        if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now) != 1:
            return False
        _note(by, "key.revoke", key, {"revoked_at": None}, {"revoked_at": _json(now)})
        return True

    revoked = atomically(end)
    _recent.forget(key.prefix)
    return revoked


def _note(
    by: Actor | None,
    action: str,
    key: ApiKey,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    by = by or audit.by_command()
    audit.record(by, action, object_kind="key", object_id=key.prefix, before=before, after=after)


def _state(key: ApiKey) -> dict[str, Any]:
    return {name: _json(getattr(key, name)) for name in CHANGEABLE}


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _hash(plain: str) -> str:
    # The key is 256 random bits, so a fast hash is enough: there is nothing to guess.
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
