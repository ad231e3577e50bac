"""Signatures by the Standard Webhooks specification 1.0 (https://www.standardwebhooks.com): HMAC-SHA256 and ed25519."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HMAC_PREFIX = "whsec_"
ED25519_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
# The specification asks for 24 to 64 random bytes.
HMAC_MIN_BYTES, HMAC_MAX_BYTES = 24, 64
ED25519_SEED_BYTES = 32


class BadKey(ValueError):
    """A signing secret cannot be used; the message says why and holds no part of it."""


def sign(keys: Sequence[str], *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``Webhook-Signature``: one signature of each key over ``id.timestamp.body``, blanks between them.

    So a receiver that knows any one of the keys can verify it, and keys rotate without a gap. Raises ``BadKey``.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(_signature(key, signed) for key in keys)


def _signature(key: str, signed: bytes) -> str:
    if key.startswith(ED25519_PREFIX):
        return f"v1a,{_base64(_private_key(key).sign(signed))}"
    return f"v1,{_base64(hmac.digest(_hmac_key(key), signed, hashlib.sha256))}"


def check(key: str) -> None:
    """Raise ``BadKey`` with the reason where nothing can be signed with it."""
    if key.startswith(ED25519_PREFIX):
        _private_key(key)
    else:
        _hmac_key(key)


def hmac_secret(random: bytes) -> str:
    """A signing secret of 24 to 64 random bytes, as both sides keep it."""
    return f"{HMAC_PREFIX}{_base64(random)}"


def ed25519_secret(seed: bytes) -> str:
    """The private signing key of 32 random bytes; ``public_key`` has what the receiver gets."""
    return f"{ED25519_PREFIX}{_base64(seed)}"


def public_key(key: str) -> str:
    """What a receiver needs to verify the signatures of a private ed25519 key."""
    return f"{PUBLIC_PREFIX}{_base64(_private_key(key).public_key().public_bytes_raw())}"


def _hmac_key(key: str) -> bytes:
    if not key.startswith(HMAC_PREFIX):
        raise BadKey(f"a signing secret begins with {HMAC_PREFIX} (HMAC) or {ED25519_PREFIX} (ed25519)")
    raw = _decoded(key.removeprefix(HMAC_PREFIX))
    if not HMAC_MIN_BYTES <= len(raw) <= HMAC_MAX_BYTES:
        raise BadKey(f"it has {len(raw)} bytes; an HMAC secret has {HMAC_MIN_BYTES} to {HMAC_MAX_BYTES}")
    return raw


# Building the key object costs as much as the signature.
@lru_cache(maxsize=128)
def _private_key(key: str) -> Ed25519PrivateKey:
    raw = _decoded(key.removeprefix(ED25519_PREFIX))
    # Some libraries keep the public key behind the seed.
    if len(raw) not in (ED25519_SEED_BYTES, 2 * ED25519_SEED_BYTES):
        raise BadKey(f"it has {len(raw)} bytes; an ed25519 key has {ED25519_SEED_BYTES}, or {2 * ED25519_SEED_BYTES}")
    private = Ed25519PrivateKey.from_private_bytes(raw[:ED25519_SEED_BYTES])
    if raw[ED25519_SEED_BYTES:] not in (b"", private.public_key().public_bytes_raw()):
        raise BadKey("its second half is not the public key of its first")
    return private


def _decoded(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text):
        raise BadKey("what follows its prefix is not base64")
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except binascii.Error:
        pass  # what is raised must not have it as its context
    raise BadKey("what follows its prefix is not base64")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
