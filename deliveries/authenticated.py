"""A request with its secrets in it: references resolved, signed, authenticated. No secret is in any error of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from deliveries import sending as sendings
from deliveries.access_tokens import basic
from deliveries.sending import Opened, Sending
from deliveries.transport.request import ClientCertificate, Outgoing
from notifier.models import Partner
from notifier.partners import own_secrets
from notifier.policy import header_rules, partner_auth, signing
from notifier.policy.partner_auth import Basic

Secrets = Mapping[str, tuple[str, ...]]


class CannotAuthenticate(Exception):
    """A secret is not there, or cannot be used for what it is named for; the message names it."""


def by_partner(opened: Opened) -> bool:
    """Whether the partner's ``auth`` is asked: a notification's own Authorization goes before it."""
    return not any(name.lower() == "authorization" for name in opened.headers)


def outgoing(sending: Sending, opened: Opened, secrets: Secrets, token: str | None, *, now: datetime) -> Outgoing:
    """The request as it goes out; ``token`` is the access token, where the partner's ``auth`` asks for one.

    Everything that goes in is noted in ``sending.hidden``. Raises ``CannotAuthenticate``.
    """
    if header_rules.all_secrets_named(opened.headers.values()) & own_secrets(sending.partner):
        raise CannotAuthenticate("a header names a secret that authenticates or signs for the partner")
    built = sendings.outgoing(sending, _resolved(opened, secrets), now=now)
    request = built.request
    sending.hidden.extend(_newest(secrets, name) for name in opened.named)
    if by_partner(opened):
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
            sending.hidden.append(token)
        elif isinstance(auth := partner_auth.auth(sending.partner.auth), Basic):
            password = _newest(secrets, auth.password)
            request.headers["Authorization"] = basic(auth.username, password)
            sending.hidden.extend((password, f"{auth.username}:{password}"))
    if sending.partner.signing_secrets:
        request.headers["Webhook-Signature"] = _signature(sending, request.headers, request.body, secrets)
    return replace(built, client=_client(sending.partner, secrets))


def _resolved(opened: Opened, secrets: Secrets) -> Opened:
    values = {name: _newest(secrets, name) for name in opened.named}
    try:
        return Opened(
            {name: header_rules.with_secrets(name, value, values) for name, value in opened.headers.items()},
            {name: header_rules.with_secrets(name, value, values) for name, value in opened.default_headers.items()},
        )
    except header_rules.HeaderError as error:
        raise CannotAuthenticate(str(error)) from None


def _newest(secrets: Secrets, name: str) -> str:
    if name not in secrets:
        raise CannotAuthenticate(f"the secret {name!r} does not exist")
    return secrets[name][0]


def _signature(sending: Sending, headers: Mapping[str, str | bytes], body: bytes | str | None, secrets: Secrets) -> str:
    """Of every version in use of every signing secret, in the order of the configuration."""
    names = partner_auth.signing_secrets(sending.partner.signing_secrets)
    missing = next((name for name in names if name not in secrets), None)
    if missing is not None:
        raise CannotAuthenticate(f"the secret {missing!r} does not exist")
    try:
        return signing.sign(
            [key for name in names for key in secrets[name]],
            webhook_id=str(headers["Webhook-Id"]),
            timestamp=int(headers["Webhook-Timestamp"]),
            body=body.encode() if isinstance(body, str) else body or b"",
        )
    except signing.BadKey as error:
        raise CannotAuthenticate(f"the signing secrets cannot be used: {error}") from None


def _client(partner: Partner, secrets: Secrets) -> ClientCertificate | None:
    names = partner_auth.client_certificate(partner.client_certificate)
    if names is None:
        return None
    return ClientCertificate(
        owner=partner.partner_id,
        certificate=_newest(secrets, names.certificate).encode(),
        key=_newest(secrets, names.key).encode(),
    )
