"""The audit trail's only writer: who did what, on what, from where, and what it was before and after.

To be called in the transaction of the act: both are committed, or neither. Plain keys, hashes and secret values are never given
to ``record``; header values come masked.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from notifier import clock, sealing
from notifier.client_address import REQUEST_ID, client_address
from notifier.models import ApiKey, AuditEntry, Partner
from notifier.partner_file import COLUMNS
from notifier.policy import redaction

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and from where."""

    kind: str
    name: str
    origin: str
    request_id: str = ""


def by_key(request: Any, key: ApiKey) -> Actor:
    """An API key. The request is Django's or the framework's."""
    return _requester(AuditEntry.Actor.KEY, key.prefix, request)


def by_user(request: HttpRequest) -> Actor:
    """A person in the admin."""
    return _requester(AuditEntry.Actor.USER, request.user.get_username(), request)


def by_command() -> Actor:
    """The account and the machine of a command."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers may have
        account = f"uid {os.getuid()}"
    return Actor(kind=AuditEntry.Actor.COMMAND, name=account[:200], origin=socket.gethostname()[:255])


def _requester(kind: str, name: str, request: Any) -> Actor:
    return Actor(
        kind=kind, name=name[:200], origin=client_address(request), request_id=request.META.get(REQUEST_ID, "")
    )


def record(
    by: Actor,
    action: str,
    *,
    object_kind: str,
    object_id: object,
    before: State | None = None,
    after: State | None = None,
) -> None:
    """Add an entry. A crash before the commit leaves neither the act nor the entry."""
    AuditEntry(
        at=clock.now(),
        actor_kind=by.kind,
        actor=by.name,
        origin=by.origin,
        request_id=by.request_id,
        action=action,
        object_kind=object_kind,
        object_id=str(object_id)[:255],
        before=None if before is None else dict(before),
        after=None if after is None else dict(after),
    ).save()


def partner_state(partner: Partner) -> dict[str, Any]:
    """The partner's configuration as the trail may have it, by the names of the partners file."""
    state = {key: getattr(partner, column) for key, column in COLUMNS.items()}
    shown: dict[str, Any] = dict(redaction.masked(partner.headers, settings.NOTIFIER_SENSITIVE_HEADERS))
    state["headers"] = {name: redaction.MASK if isinstance(value, dict) else value for name, value in shown.items()}
    return state


def record_partner(by: Actor, partner: Partner, old: Partner | None) -> None:
    """The partner was made, or changed from what ``old`` is; nothing where both are the same."""
    if old is None:
        record(by, "partner.create", object_kind="partner", object_id=partner.partner_id, after=partner_state(partner))
        return
    before, after = partner_state(old), partner_state(partner)
    old_headers, new_headers = sealing.comparable(old.headers), sealing.comparable(partner.headers)
    changed = [
        key
        for key, column in COLUMNS.items()
        if (old_headers != new_headers if column == "headers" else getattr(old, column) != getattr(partner, column))
    ]
    if not changed:
        return
    was, now = ({key: state[key] for key in changed} for state in (before, after))
    if "headers" in changed:
        # A sensitive value that was changed looks the same on both sides, so its name is given.
        now["headers_changed"] = sorted(
            name for name in {*old_headers, *new_headers} if old_headers.get(name) != new_headers.get(name)
        )
    record(by, "partner.change", object_kind="partner", object_id=partner.partner_id, before=was, after=now)
