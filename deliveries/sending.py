"""A claimed task on its way: from the row to the request, checked against its partner's rules as they are now."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from django.conf import settings

from deliveries.transport.engine import Engine
from deliveries.transport.request import Limits, Outgoing, prepare, sensitive_values
from deliveries.transport.transfer import Settled, Then
from notifier import gate, sealing
from notifier.lifecycle import Claim
from notifier.models import Partner
from notifier.policy import destination, header_rules
from notifier.policy.exchange import Exchange, FailureKind
from notifier.tracing import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, eq=False)
class Sending:
    """A claim, and its partner as it was when the claim was sent."""

    claim: Claim
    partner: Partner
    # Whether it is the probe of the partner's open circuit.
    probe: bool = False
    # On the monotonic clock: what begins later could outlive its lease.
    begin_before: float = math.inf
    # What it carries that nobody may read, should the partner echo it; filled when the request is built.
    hidden: list[str] = field(default_factory=list, repr=False)
    # Of its request, where traces are on.
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A sending's headers as they are stored, opened: references to secrets still stand in them."""

    headers: Mapping[str, str] = field(repr=False)
    default_headers: Mapping[str, str] = field(repr=False)
    # Whether one of the headers was sealed: what it holds is noted then, so that it need not be opened again.
    sealed: bool = True

    @property
    def named(self) -> set[str]:
        """The secrets that they name."""
        named = header_rules.all_secrets_named(self.headers.values())
        return named | header_rules.all_secrets_named(self.default_headers.values())


class Authenticates(Protocol):
    """Who sends what needs a secret: ``deliveries.credentials``."""

    def send(self, sending: Sending, opened: Opened, then: Then, *, now: datetime) -> None: ...


def send(
    sending: Sending, engine: Engine, then: Then, *, now: datetime, credentials: Authenticates | None = None
) -> None:
    """Hand the request to the engine. ``then`` gets the Exchange, or what kept the request from being built, in whichever thread.

    A request that needs a secret goes to ``credentials`` instead, which has them or gets them without making others wait.
    """
    settled: Settled
    try:
        refusal = refused(sending)
        if refusal is None:
            opened = open_headers(sending)
            if credentials is not None and (_authenticated(sending.partner) or _refers(opened)):
                credentials.send(sending, opened, then, now=now)
            else:
                engine.send(outgoing(sending, opened, now=now), then, sender=sending.partner.partner_id)
            return
        settled = Exchange(failure=FailureKind.ADDRESS_BLOCKED, failure_detail=refusal, maybe_sent=False)
    except sealing.UnknownKey as error:
        # Of this process's settings, not of the row: another worker, or this one started anew, can send it.
        settled = without_credentials(str(error))
    except Exception as error:  # noqa: BLE001 - one row's request cannot be built: its own failure, not the batch's
        settled = error
    then(settled)


def without_credentials(why: str) -> Exchange:
    return Exchange(failure=FailureKind.CREDENTIALS, failure_detail=why, maybe_sent=False)


def _refers(opened: Opened) -> bool:
    """Whether a header may name a secret. Asked for every request, so it looks for a brace only."""
    for headers in (opened.headers, opened.default_headers):
        for value in headers.values():
            if "{{" in value:
                return True
    return False


def _authenticated(partner: Partner) -> bool:
    return bool(partner.auth or partner.signing_secrets or partner.client_certificate)


def refused(sending: Sending) -> str | None:
    """Why the rules, as they are now, do not let the request go; None where they do."""
    refusal = gate.refusal(destination.target(sending.claim.target_url), sending.partner)
    return None if refusal is None else refusal.message


def open_headers(sending: Sending) -> Opened:
    """Raises ``SealBroken``."""
    headers, sealed = sealing.open_headers(sending.claim.headers)
    return Opened(headers, sending.partner.opened_headers, bool(sealed))


def outgoing(sending: Sending, opened: Opened | None = None, *, now: datetime) -> Outgoing:
    """The request as it goes out. Raises where the row holds what cannot be sent."""
    opened = opened or open_headers(sending)
    claim = sending.claim
    if opened.sealed:
        sending.hidden[:] = _sensitive(opened)
    request = prepare(
        method=claim.http_method,
        url=claim.target_url,
        headers=opened.headers,
        default_headers=opened.default_headers,
        body=sealing.unseal_bytes(claim.body) if claim.body_sealed and claim.body is not None else claim.body,
        content_type=claim.content_type,
        webhook_id=claim.task_id,
        attempt_no=claim.attempt_count,
        traceparent=_continued(claim.traceparent) if sending.span is None else tracing.traceparent(sending.span),
        now=now,
    )
    return Outgoing(request, limits(sending))


def limits(sending: Sending) -> Limits:
    """How long a request of this partner's may take, and where it may go."""
    partner, most = sending.partner, settings.NOTIFIER_MAX_TIMEOUT_SECONDS
    return Limits(
        connect_timeout=min(partner.connect_timeout_seconds, most),
        total_timeout=min(partner.timeout_seconds, most),
        begin_before=sending.begin_before,
        allow_private_cidrs=tuple(partner.allow_private_cidrs),
    )


def secrets_of(sending: Sending) -> list[str]:
    """What of this request must not be shown, should the partner echo it."""
    if sending.hidden:
        return sending.hidden
    try:
        return _sensitive(open_headers(sending))
    except sealing.SealBroken:
        return []


def _sensitive(opened: Opened) -> list[str]:
    merged = {**opened.default_headers, **opened.headers}
    return sensitive_values(merged, tuple(settings.NOTIFIER_SENSITIVE_HEADERS))


def _continued(traceparent: str | None) -> str | None:
    """The caller's trace with a span of ours as the parent (W3C Trace Context, section 3.2)."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return None if match is None else f"00-{match[1]}-{secrets.token_hex(8)}-{match[2]}"
