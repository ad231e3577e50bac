"""Sealed header values: encrypted at accept, opened only in the worker, at send."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from notifier.policy import redaction

StoredHeaders = Mapping[str, str | dict[str, str]]


class SealBroken(Exception):
    """A sealed value cannot be opened with the keys of this process; the message holds no part of it."""


@lru_cache(maxsize=1)
def _keys() -> MultiFernet:
    keys = settings.NOTIFIER_SEALING_KEYS
    if not keys:
        derived = hashlib.sha256(b"notifier sealing key\0" + settings.SECRET_KEY.encode()).digest()
        keys = [base64.urlsafe_b64encode(derived).decode()]
    return MultiFernet([Fernet(key) for key in keys])


def seal_headers(headers: Mapping[str, str]) -> dict[str, str | dict[str, str]]:
    """The headers as they are stored: sensitive values encrypted."""
    extra = settings.NOTIFIER_SENSITIVE_HEADERS
    return {
        name: {"sealed": _keys().encrypt(value.encode()).decode()} if redaction.is_sensitive(name, extra) else value
        for name, value in headers.items()
    }


def open_headers(stored: StoredHeaders) -> tuple[dict[str, str], list[str]]:
    """The headers as they are sent, and the values among them that must never be shown."""
    headers: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in stored.items():
        if isinstance(value, str):
            headers[name] = value
            continue
        try:
            headers[name] = _keys().decrypt(value["sealed"]).decode()
        except (InvalidToken, KeyError):
            raise SealBroken(f"the sealed value of header {name} cannot be opened with NOTIFIER_SEALING_KEYS") from None
        secrets.append(headers[name])
    return headers, secrets


def shown_headers(stored: StoredHeaders) -> dict[str, str]:
    """The headers for showing: sealed values are ``***``."""
    plain = {name: value if isinstance(value, str) else redaction.MASK for name, value in stored.items()}
    return redaction.masked(plain, settings.NOTIFIER_SENSITIVE_HEADERS)
