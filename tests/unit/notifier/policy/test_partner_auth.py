"""A partner's authentication as it is written: references to secrets, refused with the reason where it cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.policy.partner_auth import (
    AuthError,
    Basic,
    CertificateNames,
    ClientCredentials,
    auth,
    client_certificate,
    secrets_of,
    signing_secrets,
)
from tests.unit.cases import case

BASIC = {"type": "basic", "username": "us", "password": "pass"}
OAUTH = {
    "type": "oauth2_client_credentials", "token_url": "HTTPS://Login.example/token", "client_id": "us", "client_secret": "client",
}  # fmt: skip


def test_what_can_be_used() -> None:
    assert auth(None) is None
    assert auth(BASIC) == Basic("us", "pass")
    assert auth(OAUTH) == ClientCredentials("https://login.example/token", "us", "client")
    full = OAUTH | {"scope": "a b", "audience": "them", "client_auth": "body"}
    assert auth(full) == ClientCredentials("https://login.example/token", "us", "client", "a b", "them", "body")
    assert client_certificate(None) is None
    assert client_certificate({"certificate": "c", "key": "k"}) == CertificateNames("c", "k")
    assert signing_secrets(["a", "b"]) == ("a", "b")
    assert [secrets_of(found) for found in (auth(BASIC), auth(OAUTH), None)] == [("pass",), ("client",), ()]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        case("basic", "must have a type, one of basic, oauth2_client_credentials", id="text"),
        case({}, "must have a type", id="no-type"),
        case({"type": "digest"}, "must have a type", id="other-type"),
        case({"type": ["basic"]}, "must have a type", id="list-as-type"),
        case({"type": "basic", "username": "us"}, "password is missing", id="missing"),
        case(BASIC | {"CANARY": "x"}, "'CANARY' is not a known key", id="unknown"),
        case(BASIC | {"password": "CANARY secret"}, "password must be the name of a secret, not its value", id="value"),
        case(BASIC | {"password": 5}, "password must be", id="number"),
        case(BASIC | {"username": "a:b"}, "username must not have a colon", id="colon"),
        case(BASIC | {"username": "é"}, "username must be 1 to 512", id="not-ascii"),
        case(OAUTH | {"token_url": "ftp://x/"}, "token_url cannot be used", id="scheme"),
        case(OAUTH | {"token_url": "https://us:pw@x/"}, "token_url cannot be used", id="user-info"),
        case(OAUTH | {"client_auth": "query"}, "client_auth must be one of header, body", id="client-auth"),
        case(OAUTH | {"client_secret": "a.b"}, "client_secret must be the name of a secret", id="dot"),
        case(OAUTH | {"scope": "a\nb"}, "scope must be", id="line-break"),
    ],
)
def test_auth_that_cannot_be_used_is_refused_with_the_place(value: Any, reason: str) -> None:
    with pytest.raises(AuthError) as raised:
        auth(value)

    assert reason in str(raised.value)
    assert "CANARY secret" not in str(raised.value)


@pytest.mark.parametrize(
    "value", [[], "c", {"certificate": "c"}, {"certificate": "c", "key": "-----BEGIN PRIVATE KEY-----"}, {"certificate": "c", "key": "k", "x": "y"}]
)  # fmt: skip
def test_a_client_certificate_that_cannot_be_used_is_refused(value: Any) -> None:
    with pytest.raises(AuthError):
        client_certificate(value)


@pytest.mark.parametrize("value", [None, "sign", ["a", "a"], ["whsec_/+="], [5], [str(number) for number in range(9)]])
def test_signing_secrets_that_cannot_be_used_are_refused(value: Any) -> None:
    with pytest.raises(AuthError):
        signing_secrets(value)
