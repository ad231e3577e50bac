"""From a claim to the bytes that go out: a ``requests.PreparedRequest``, so that every ``AuthBase`` plug-in works."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import requests
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict

from notifier import __version__
from notifier.policy import redaction

USER_AGENT = f"notifier/{__version__}"
# Addresses, and names of headers, whose parts are not worked out again: the same come with many requests.
REMEMBERED = 8192


class Unsendable(ValueError):
    """The request cannot be put into bytes; the message names the part and never holds any of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a transfer may take, in seconds, where it may go, and until when (monotonic clock) it may begin."""

    connect_timeout: float
    total_timeout: float
    begin_before: float = math.inf
    allow_private_cidrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Who we are to a partner that asks for a certificate (mutual TLS); both in PEM.

    A connection that was made with it serves no request but those of the same owner with the same certificate.
    """

    owner: str
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request ready for the engine."""

    request: requests.PreparedRequest
    limits: Limits
    client: ClientCertificate | None = None

    def __repr__(self) -> str:
        """Without URL, headers and body, which may hold secrets."""
        return f"Outgoing({self.request.method})"


def prepare(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    default_headers: Mapping[str, str],
    body: bytes | None,
    content_type: str | None,
    webhook_id: str,
    attempt_no: int,
    traceparent: str | None,
    now: datetime,
    auth: AuthBase | None = None,
) -> requests.PreparedRequest:
    """Build the request. URL and body are taken as they are: what was checked at accept is what is sent."""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body, prepared.hooks = method, url, body, {}
    # By single steps: update() asks first what it was given, which takes longer.
    merged: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    merged["User-Agent"] = USER_AGENT
    for name, value in default_headers.items():
        merged[name] = value
    if content_type is not None:
        merged["Content-Type"] = content_type
    for name, value in headers.items():
        merged[name] = value
    merged["Webhook-Id"] = webhook_id
    merged["Webhook-Timestamp"] = str(int(now.timestamp()))
    merged["Webhook-Attempt"] = str(attempt_no)
    if traceparent is not None:
        merged["Traceparent"] = traceparent
    prepared.headers = merged
    if auth is not None:
        prepared.prepare_auth(auth, url)
    return prepared


def sensitive_values(headers: Mapping[str, str], extra: tuple[str, ...]) -> list[str]:
    """Values that must not be shown should the partner echo them: whole, and the credentials within.

    Those are what stands behind a scheme, the user name and password of Basic (RFC 7617), and each cookie's value.
    """
    found: list[str] = []
    for name, value in headers.items():
        if redaction.is_sensitive(name, extra):
            found += [value, *_credentials(name, value)]
    return found


def _credentials(name: str, value: str) -> list[str]:
    if name.lower() == "cookie":
        return [pair.partition("=")[2].strip() for pair in value.split(";")]
    scheme, blank, credential = value.partition(" ")
    if not blank:
        return []
    if scheme.lower() != "basic":
        return [credential]
    try:
        decoded = base64.b64decode(credential, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return [credential]
    return [credential, decoded, decoded.partition(":")[2]]
