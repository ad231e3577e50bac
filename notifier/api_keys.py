"""API keys: made, found again by their hash, revoked. The plain key exists once, in the answer to its making."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db.models import Q

from notifier.models import ApiKey, Partner, Scope
from notifier.recent import Recent

MARK = "ntf_"
PREFIX_LENGTH = 12
MAX_NAME = 200
# A key's last use is written at most this often.
LAST_USE_STEP = timedelta(minutes=1)
# A key's row is kept for so long; within 5 s of its revocation nobody may use a key any more.
MAX_AGE_SECONDS = 2.0

_recent: Recent[str, ApiKey] = Recent(MAX_AGE_SECONDS)


def validate(*, name: str, scopes: Sequence[str], partners: Sequence[str]) -> None:
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
    if errors:
        raise ValidationError(errors)


def create(
    *, name: str, scopes: Sequence[str], partners: Sequence[str] = (), plain: str | None = None
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and its plain text, which cannot be had again."""
    plain = plain or f"{MARK}{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        name=name, prefix=plain[:PREFIX_LENGTH], hash=_hash(plain), scopes=list(scopes), partners=list(partners)
    )
    return key, plain


def find(plain: str) -> ApiKey | None:
    """The key of this plain text, or None where there is none or it was revoked.

    Its row is read at most every ``MAX_AGE_SECONDS``: a key that another process revoked is refused after that, one that
    this process revoked at once. The hash is compared each time.
    """
    prefix = plain[:PREFIX_LENGTH]
    key = _recent.get(prefix)
    if key is None:
        read_at = _recent.begin()
        key = ApiKey.objects.filter(prefix=prefix).first()
        if key is not None:
            # What does not exist is asked for again, so nobody can fill the memory with it.
            _recent.put(prefix, key, read_at=read_at)
    if key is None or not hmac.compare_digest(key.hash, _hash(plain)) or key.revoked_at is not None:
        return None
    return key


def touch(key: ApiKey, *, now: datetime) -> None:
    """Note that the key was used now, at most once a minute."""
    if key.last_used_at is None or key.last_used_at < now - LAST_USE_STEP:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - LAST_USE_STEP)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
        # The row is shared by the requests of the next seconds.
        key.last_used_at = now


def revoke(key: ApiKey, *, now: datetime) -> bool:
    """Refuse the key from now on, in other processes after at most ``MAX_AGE_SECONDS``; False where it was revoked already."""
    revoked = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now) == 1
    _recent.forget(key.prefix)
    return revoked


def _hash(plain: str) -> str:
    # The key is 256 random bits, so a fast hash is enough: there is nothing to guess.
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
