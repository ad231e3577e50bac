"""The fingerprint that tells the same request sent twice from another request under the same idempotency key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime


def fingerprint(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    success_condition: str | None,
    deliver_at: datetime | None,
) -> str:
    """SHA-256 in hex over what makes two requests the same. Header names count in lower case, in any order."""
    digest = hashlib.sha256()
    parts: list[bytes] = [method.encode(), url.encode()]
    for name, value in sorted((name.lower(), value) for name, value in headers.items()):
        parts += [name.encode(), value.encode()]
    parts += [
        _optional(None if success_condition is None else success_condition.encode()),
        # One instant has many spellings.
        _optional(None if deliver_at is None else deliver_at.astimezone(UTC).isoformat().encode()),
        _optional(body),
    ]
    for part in parts:
        # Each part carries its length, so that no two lists of parts give the same bytes.
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _optional(part: bytes | None) -> bytes:
    """None and the empty string differ."""
    return b"-" if part is None else b"+" + part
