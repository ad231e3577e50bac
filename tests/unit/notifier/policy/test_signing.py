"""Signatures by the Standard Webhooks specification, checked by its own library and its published vector."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from notifier.policy import signing
from notifier.policy.signing import BadKey, check, ed25519_secret, hmac_secret, public_key, sign
from tests.unit.cases import case

# The specification's example (https://github.com/standard-webhooks/standard-webhooks, libraries' tests).
PUBLISHED: dict[str, Any] = {
    "webhook_id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "timestamp": 1614265330,
    "body": b'{"test": 2432232314}',
}
PUBLISHED_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLISHED_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
# RFC 8032, section 7.1, test 1: the seed and its public key.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
OLD, NEW = hmac_secret(b"o" * 24), hmac_secret(b"n" * 64)


def _headers(signature: str, timestamp: int) -> dict[str, str]:
    return {"webhook-id": "task-1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_the_published_vector() -> None:
    assert sign([PUBLISHED_KEY], **PUBLISHED) == PUBLISHED_SIGNATURE


def test_the_reference_library_verifies_it_by_each_of_several_keys() -> None:
    now, body = int(time.time()), json.dumps({"name": "Grüße"}).encode()

    signature = sign([NEW, OLD], webhook_id="task-1", timestamp=now, body=body)

    for key in (NEW, OLD):
        assert Webhook(key).verify(body, _headers(signature, now)) == {"name": "Grüße"}
    with pytest.raises(WebhookVerificationError):
        Webhook(hmac_secret(b"x" * 24)).verify(body, _headers(signature, now))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body + b" ", _headers(signature, now))


@pytest.mark.parametrize("raw", [case(SEED, id="seed"), case(SEED + PUBLIC, id="with-its-public-key")])
def test_ed25519(raw: bytes) -> None:
    key = f"whsk_{base64.b64encode(raw).decode()}"

    version, _, encoded = sign([key], **PUBLISHED).partition(",")

    assert version == "v1a"
    assert public_key(key) == f"whpk_{base64.b64encode(PUBLIC).decode()}"
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    verifier = Ed25519PublicKey.from_public_bytes(PUBLIC)
    verifier.verify(base64.b64decode(encoded), signed)
    with pytest.raises(InvalidSignature):
        verifier.verify(base64.b64decode(encoded), signed + b" ")


def test_an_ed25519_signature_beside_an_hmac_does_not_disturb_the_reference_library() -> None:
    now = int(time.time())

    signature = sign([ed25519_secret(SEED), NEW], webhook_id="task-1", timestamp=now, body=b"{}")

    assert [each.partition(",")[0] for each in signature.split(" ")] == ["v1a", "v1"]
    assert Webhook(NEW).verify(b"{}", _headers(signature, now)) == {}


def test_a_body_that_is_no_text_and_none_at_all_are_signed() -> None:
    assert sign([NEW], webhook_id="a", timestamp=1, body=b"\xff\x00").startswith("v1,")
    assert sign([NEW], webhook_id="a", timestamp=1, body=b"") != sign([OLD], webhook_id="a", timestamp=1, body=b"")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        case("SECRETVALUE", "begins with whsec_", id="no-prefix"),
        case("", "begins with whsec_", id="empty"),
        case("whsec_", "it has 0 bytes", id="nothing-behind-it"),
        case("whsec_SECRETVALUE!", "not base64", id="other-characters"),
        case("whsec_SECRETVALUESECRETVALUESECRETVALUE==X", "not base64", id="behind-the-end"),
        case("whsec_SECRET-VALUE_", "not base64", id="the-other-alphabet"),
        case("whsec_SECRE", "not base64", id="no-whole-bytes"),
        case("whsec_" + base64.b64encode(b"s" * 23).decode(), "it has 23 bytes", id="too-short"),
        case("whsec_" + base64.b64encode(b"s" * 65).decode(), "it has 65 bytes", id="too-long"),
        case("whsk_" + base64.b64encode(b"s" * 31).decode(), "it has 31 bytes", id="ed25519-too-short"),
        case("whsk_" + base64.b64encode(SEED + SEED).decode(), "second half", id="not-its-public-key"),
        case("whpk_" + base64.b64encode(PUBLIC).decode(), "begins with whsec_", id="public"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_without_a_word_of_it(key: str, reason: str) -> None:
    with pytest.raises(BadKey, match=reason) as raised:
        check(key)

    assert "SECRET" not in str(raised.value)
    assert raised.value.__context__ is None
    with pytest.raises(BadKey):
        sign([NEW, key], **PUBLISHED)


@pytest.mark.parametrize("key", [NEW, OLD, PUBLISHED_KEY, PUBLISHED_KEY + "==", ed25519_secret(SEED)])
def test_usable_keys(key: str) -> None:
    check(key)


def test_what_is_made_can_be_used() -> None:
    check(hmac_secret(b"r" * 32))
    check(ed25519_secret(b"r" * 32))
    assert signing.hmac_secret(b"r" * 32) == f"whsec_{base64.b64encode(b'r' * 32).decode()}"
