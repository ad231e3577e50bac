"""Sealed values: encrypted before they are stored (Fernet), opened only in the worker, at send."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from notifier.policy import header_rules, redaction

StoredHeaders = Mapping[str, str | dict[str, str]]


class SealBroken(Exception):
    """A sealed value cannot be opened with the keys of this process; the message holds no part of it."""


class UnknownKey(SealBroken):
    """It was sealed under a key that this process does not have: a matter of its settings, not of the value."""


# A Fernet token's version, and the upper bytes of its time until the year 2106.
_TOKEN = b"gAAAAA"


@lru_cache(maxsize=4)
def _ring(keys: tuple[str, ...], secret_key: str) -> tuple[Fernet, MultiFernet]:
    # Always the last: what was sealed before there were keys can be opened, and is sealed anew by rotate_secret_keys.
    derived = hashlib.sha256(b"notifier sealing key\0" + secret_key.encode()).digest()
    ring = [Fernet(key) for key in (*keys, base64.urlsafe_b64encode(derived).decode())]
    return ring[0], MultiFernet(ring)


def _keys() -> tuple[Fernet, MultiFernet]:
    """The key that encrypts, and all that decrypt."""
    return _ring(tuple(settings.NOTIFIER_SEALING_KEYS), settings.SECRET_KEY)


def seal(plain: str) -> str:
    """The text as it may be stored."""
    return seal_bytes(plain.encode()).decode()


def seal_bytes(plain: bytes) -> bytes:
    """The bytes as they may be stored: about a third longer."""
    return _keys()[0].encrypt(plain)


def unseal(token: str) -> str:
    """What ``seal`` was given; raises ``SealBroken``."""
    return unseal_bytes(token.encode()).decode()


def unseal_bytes(token: bytes) -> bytes:
    """What ``seal_bytes`` was given; raises ``SealBroken``."""
    try:
        return _keys()[1].decrypt(token)
    except InvalidToken:
        pass
    raise _broken(token)


def _broken(token: bytes, what: str = "it") -> SealBroken:
    if token.startswith(_TOKEN):
        return UnknownKey(f"{what} cannot be opened with NOTIFIER_SEALING_KEYS")
    return SealBroken(f"{what} is not sealed as it should be")


def resealed(token: bytes) -> bytes | None:
    """The same value under the first key; None where it is under it already. Raises ``SealBroken``."""
    first, ring = _keys()
    try:
        first.decrypt(token)
        return None
    except InvalidToken:
        pass
    try:
        return ring.rotate(token)
    except InvalidToken:
        pass
    raise _broken(token)


def seal_headers(headers: StoredHeaders) -> dict[str, str | dict[str, str]]:
    """The headers as they are stored: sensitive values encrypted, but for those that are so and mere references."""
    extra = settings.NOTIFIER_SENSITIVE_HEADERS
    return {
        name: {"sealed": seal(value)}
        if isinstance(value, str) and redaction.is_sensitive(name, extra) and not header_rules.only_refers(value)
        else value
        for name, value in headers.items()
    }


def open_headers(stored: StoredHeaders) -> tuple[dict[str, str], list[str]]:
    """The headers as they are sent, and the values among them that must never be shown. Raises ``SealBroken``."""
    headers: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in stored.items():
        if isinstance(value, str):
            headers[name] = value
            continue
        try:
            headers[name] = unseal(value["sealed"])
        except (SealBroken, KeyError):
            raise _broken(str(value.get("sealed")).encode(), f"the sealed value of header {name}") from None
        secrets.append(headers[name])
    return headers, secrets


def shown_headers(stored: StoredHeaders) -> dict[str, str]:
    """The headers for showing: sealed values are ``***``."""
    plain = {name: value if isinstance(value, str) else redaction.MASK for name, value in stored.items()}
    return redaction.masked(plain, settings.NOTIFIER_SENSITIVE_HEADERS)


def comparable(headers: StoredHeaders) -> Mapping[str, Any]:
    """For comparing alone, as one value sealed twice gives two tokens. What cannot be opened any more is as it is."""
    try:
        return open_headers(headers)[0]
    except SealBroken:
        return headers
