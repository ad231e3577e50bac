"""OAuth 2.0 access tokens by client credentials (RFC 6749, section 4.4): the request for one, and the answer read."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

import requests
from requests.structures import CaseInsensitiveDict

from deliveries.transport.request import USER_AGENT
from notifier.policy.exchange import Exchange
from notifier.policy.partner_auth import ClientCredentials

# Where the answer does not say how long it lives (section 5.1 only recommends that it does).
DEFAULT_LIFE_SECONDS = 300.0
MAX_LIFE_SECONDS = 24 * 3600.0
# Behind this share of its life a token is replaced, while it is still used.
REFRESH_AT = 0.75
# Not used so shortly before its end: the partner's clock, and the way there.
MARGIN_SECONDS = 5.0
# RFC 6750, section 2.1; no header takes more.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,8192}=*")
# RFC 6749, section 5.2: the only words of an answer that are repeated, for any other could be a credential.
_ERRORS = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token, and when on the monotonic clock it was asked for, is to be replaced, and is no longer used."""

    value: str = field(repr=False)
    # The client secret that it was got with: a new one asks for a new token.
    secret: str = field(repr=False)
    asked_at: float
    refresh_at: float
    ends_at: float


class NoToken(Exception):
    """The token endpoint gave none; the message says why and repeats nothing that could be a credential."""


def token_request(client: ClientCredentials, secret: str) -> requests.PreparedRequest:
    """The POST for a token: the client authenticates in the header or in the body (section 2.3.1)."""
    form = {"grant_type": "client_credentials", "scope": client.scope, "audience": client.audience}
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    if client.client_auth == "body":
        form |= {"client_id": client.client_id, "client_secret": secret}
    else:
        headers["Authorization"] = basic(quote_plus(client.client_id), quote_plus(secret))
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.hooks = "POST", client.token_url, {}
    prepared.body = urlencode({name: value for name, value in form.items() if value is not None})
    prepared.headers = CaseInsensitiveDict(headers)
    return prepared


def basic(username: str, password: str) -> str:
    """The value of ``Authorization`` by RFC 7617, in UTF-8."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def read_token(exchange: Exchange, *, secret: str, asked_at: float) -> AccessToken:
    """The token in the endpoint's answer, or ``NoToken``. Its life is counted from when it was asked for."""
    if exchange.failure is not None:
        raise NoToken(f"the token endpoint could not be asked: {exchange.failure.value}")
    answer = _document(exchange.body)
    if exchange.status != 200:
        error = answer.get("error")
        said = f" ({error})" if isinstance(error, str) and error in _ERRORS else ""
        raise NoToken(f"the token endpoint answered {exchange.status}{said}")
    value, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise NoToken("the token endpoint's answer has no access_token that a header could carry")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NoToken("the token endpoint gave a token of another type than bearer")
    life = _life(answer.get("expires_in"))
    return AccessToken(
        value=value,
        secret=secret,
        asked_at=asked_at,
        refresh_at=asked_at + life * REFRESH_AT,
        ends_at=asked_at + life - min(MARGIN_SECONDS, life / 10),
    )


def _document(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _life(expires_in: object) -> float:
    """Some servers send the number as a string."""
    try:
        seconds = float(expires_in)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_LIFE_SECONDS
    return min(max(seconds, 1.0), MAX_LIFE_SECONDS) if seconds == seconds else DEFAULT_LIFE_SECONDS  # noqa: PLR0124 - NaN
