"""How a partner wants to be authenticated to, from its configuration: references to secrets, never their values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from notifier.policy import destination

# No dot and no slash: a name is a file's name too.
SECRET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SECRET_NAME_RULE = "1 to 64 of the characters A-Z a-z 0-9 _ -"  # noqa: S105 - a sentence
BASIC = "basic"
CLIENT_CREDENTIALS = "oauth2_client_credentials"
# RFC 6749, appendix A: printable ASCII.
_TEXT = re.compile(r"[\x20-\x7e]{1,512}")
_SHAPES = {
    BASIC: ({"username", "password"}, set[str]()),
    CLIENT_CREDENTIALS: ({"token_url", "client_id", "client_secret"}, {"scope", "audience", "client_auth"}),
}
CLIENT_AUTHS = ("header", "body")


@dataclass(frozen=True, slots=True)
class Basic:
    """RFC 7617. ``password`` names a secret."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """RFC 6749, section 4.4. ``client_secret`` names a secret; ``client_auth`` says where it is sent (section 2.3.1)."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str | None = None
    audience: str | None = None
    client_auth: str = "header"


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """Names of the secrets that hold a client certificate, with its chain, and its private key, both PEM."""

    certificate: str
    key: str


class AuthError(ValueError):
    """The configuration cannot be used; the message says what is wrong and where."""


def auth(value: Any) -> Basic | ClientCredentials | None:
    """The partner's ``auth`` read, or ``AuthError``. Its secrets need not exist."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("type") not in list(_SHAPES):
        raise AuthError(f"must have a type, one of {', '.join(_SHAPES)}")
    given = {key: entry for key, entry in value.items() if key != "type"}
    required, optional = _SHAPES[value["type"]]
    _check_keys(given, required, optional)
    for key, entry in given.items():
        if not isinstance(entry, str) or not _TEXT.fullmatch(entry):
            raise AuthError(f"{key} must be 1 to 512 characters of printable ASCII")
    if value["type"] == BASIC:
        _check_name("password", given["password"])
        if ":" in given["username"]:
            raise AuthError("username must not have a colon (RFC 7617)")
        return Basic(**given)
    _check_name("client_secret", given["client_secret"])
    if given.get("client_auth", "header") not in CLIENT_AUTHS:
        raise AuthError(f"client_auth must be one of {', '.join(CLIENT_AUTHS)}")
    try:
        given["token_url"] = destination.target(given["token_url"]).url
    except destination.TargetError as error:
        raise AuthError(f"token_url cannot be used: {error}") from None
    return ClientCredentials(**given)


def client_certificate(value: Any) -> CertificateNames | None:
    """The partner's ``client_certificate`` read, or ``AuthError``. Its secrets need not exist."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise AuthError("must have certificate and key, each the name of a secret")
    _check_keys(value, {"certificate", "key"}, set())
    for key, name in value.items():
        _check_name(key, name)
    return CertificateNames(**value)


def signing_secrets(value: Any) -> tuple[str, ...]:
    """The partner's ``signing_secrets`` read, or ``AuthError``. They need not exist."""
    if not isinstance(value, list) or len(value) > 8:
        raise AuthError("must be a list of at most 8 names of secrets")
    for name in value:
        _check_name("each entry", name)
    if len(set(value)) != len(value):
        raise AuthError("names a secret twice")
    return tuple(value)


def secrets_of(found: Basic | ClientCredentials | None) -> tuple[str, ...]:
    """The names of the secrets that it needs."""
    match found:
        case Basic():
            return (found.password,)
        case ClientCredentials():
            return (found.client_secret,)
        case None:
            return ()
        case _:
            assert_never(found)


def _check_keys(given: Mapping[Any, Any], required: set[str], optional: set[str]) -> None:
    if missing := required - given.keys():
        raise AuthError(f"{sorted(missing)[0]} is missing")
    if unknown := given.keys() - required - optional:
        # Only its name is repeated: what stands there may be a secret.
        raise AuthError(f"{str(sorted(unknown, key=str)[0])[:80]!r} is not a known key")


def _check_name(key: str, name: Any) -> None:
    # Not repeated: somebody may have written the secret itself.
    if not isinstance(name, str) or not SECRET_NAME.fullmatch(name):
        raise AuthError(f"{key} must be the name of a secret, not its value: {SECRET_NAME_RULE}")
