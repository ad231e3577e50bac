"""Accept a notification: check it against its partner, deduplicate, insert, wake. 202 is promised only after this."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import uuid_utils
from django.db import IntegrityError, OperationalError, transaction
from prometheus_client import Counter

from notifier import clock, gate, lifecycle, sealing
from notifier.models import ApiKey, NotificationTask, Partner
from notifier.models.task import HIGHEST_PRIORITY
from notifier.partners import Directory
from notifier.policy import destination, header_rules, idempotency, redaction
from notifier.transactions import TRIES, atomically, conflicted
from notifier.wake import publisher

logger = logging.getLogger(__name__)

MAX_DELIVER_AHEAD = timedelta(days=366)

accepted_total = Counter("notifier_accepted", "Notifications accepted (answered 202)")
partners = Directory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a producer asks for, well formed; header values and body may hold secrets, so it has no repr of them."""

    partner_id: str
    target: destination.Target
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    body_format: str | None = None
    content_type: str | None = None
    idempotency_key: str | None = None
    priority: int = 5
    success_condition: str | None = None
    deliver_at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None


class Refused(Exception):
    """Well formed, but it cannot be accepted as things stand. Nothing was stored."""

    def __init__(self, code: str, field_name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field_name
        self.message = message


class Unusable(ValueError):
    """A person's change of a request is not well formed, or would send a secret elsewhere. Nothing was stored."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name
        self.message = message


@dataclass(frozen=True, slots=True)
class Accepted:
    """The stored task, and whether it was there before under the same idempotency key."""

    task: NotificationTask
    replay: bool


def accept(notification: Notification, *, key: ApiKey | None) -> Accepted:
    """Store the notification and wake its partner; it is committed when this returns.

    The same request under the same idempotency key gets the task that exists. Raises ``Refused``. The broker is not
    asked for anything here: a wake that cannot be published is made up for by the sweep.
    """
    partner = partners.by_id([notification.partner_id]).get(notification.partner_id)
    if partner is None:
        raise Refused("unknown_partner", "partner_id", f"There is no partner {notification.partner_id!r}.")
    now = clock.now()
    try:
        _check(notification, partner, now)
    except Refused:
        # Accepted once stays accepted: the same request again gets its task, whatever has changed since.
        existing = _holder(partner, notification.idempotency_key)
        if existing is None or existing.fingerprint != _fingerprint(notification):
            raise
        return Accepted(existing, replay=True)
    task = _build(notification, partner, key, now)
    accepted = _store(task)
    if not accepted.replay:
        accepted_total.inc()
        if task.next_attempt_at is not None and task.next_attempt_at <= now:
            publisher.wake([partner.partner_id])
    return accepted


def changed(
    task: NotificationTask, *, target_url: str, headers: Mapping[str, str]
) -> tuple[Notification, sealing.StoredHeaders]:
    """What the task asks for, with that address and those headers; and the sealed values that stay, as they are stored.

    A header that reads ``***`` keeps its value. Raises ``Unusable``, and ``Refused`` as an accept would: the address is checked anew, and what is sealed
    is taken over only for the host that it was meant for.
    """
    try:
        target = destination.target(target_url)
    except destination.TargetError as error:
        raise Unusable("target_url", f"The address cannot be used: {error}.") from None
    try:
        header_rules.check(dict(headers))
    except header_rules.HeaderError as error:
        raise Unusable("headers", f"Headers: {error}.") from None
    stored = {name.lower(): value for name, value in task.headers.items()}
    kept = {
        name: stored[name.lower()]
        for name, value in headers.items()
        if value == redaction.MASK and name.lower() in stored
    }
    lost = [name for name, value in headers.items() if value == redaction.MASK and name not in kept]
    if lost:
        raise Unusable("headers", f"{lost[0]} reads *** but the task has no such header; write its value.")
    if kept and target.host != destination.target(task.target_url).host:
        name = next(iter(kept))
        raise Unusable("headers", f"{name} was given for another host; write its value anew, or leave the header out.")
    wanted = Notification(
        partner_id=task.partner.partner_id,
        target=target,
        method=task.http_method,
        headers={name: value for name, value in headers.items() if name not in kept},
        body=None if task.body is None else bytes(task.body),
        body_format=task.body_format,
        content_type=task.content_type,
        priority=task.priority,
        success_condition=task.success_condition,
        max_attempts=task.max_attempts,
        metadata=task.metadata,
        traceparent=task.traceparent,
    )
    partner = Partner.objects.get(pk=task.partner_id)
    _check(wanted, partner, clock.now())
    return wanted, kept


def store_replacement(
    original: NotificationTask, notification: Notification, kept: sealing.StoredHeaders
) -> NotificationTask:
    """Insert it, linked to the original. In the caller's transaction; the caller wakes the partner."""
    made = _build(notification, original.partner, None, clock.now())
    made.created_by_id = original.created_by_id
    made.headers = {**made.headers, **kept}
    made.replaces = original.task_id
    return _store(made).task


def _check(notification: Notification, partner: Partner, now: datetime) -> None:
    if not partner.enabled:
        raise Refused("partner_disabled", "partner_id", f"Partner {partner.partner_id!r} is disabled.")
    if (refusal := gate.refusal(notification.target, partner)) is not None:
        raise Refused(refusal.code, "target_url", refusal.message)
    for name, value in notification.headers.items():
        if unknown := header_rules.secrets_named(value):
            raise Refused(
                "unknown_secret", "headers", f"Header {name} names a secret {unknown[0]!r} that does not exist."
            )
    if notification.deliver_at is not None and notification.deliver_at > now + MAX_DELIVER_AHEAD:
        raise Refused("deliver_at_too_far", "deliver_at", "deliver_at is more than a year ahead.")
    if notification.expires_at is not None and notification.expires_at <= max(notification.deliver_at or now, now):
        raise Refused("expires_too_early", "expires_at", "expires_at is not after now and deliver_at.")


def _build(notification: Notification, partner: Partner, key: ApiKey | None, now: datetime) -> NotificationTask:
    due = max(notification.deliver_at or now, now)
    return NotificationTask(
        task_id=task_id_at(now),
        partner=partner,
        created_by_id=None if key is None else key.pk,
        target_url=notification.target.url,
        http_method=notification.method,
        headers=sealing.seal_headers(notification.headers),
        body=notification.body,
        body_format=notification.body_format,
        content_type=notification.content_type,
        metadata=dict(notification.metadata),
        success_condition=notification.success_condition,
        traceparent=notification.traceparent,
        idempotency_key=notification.idempotency_key,
        fingerprint=_fingerprint(notification),
        rank=HIGHEST_PRIORITY - notification.priority,
        next_attempt_at=due,
        deliver_at=notification.deliver_at,
        expires_at=notification.expires_at or due + timedelta(hours=partner.max_age_hours),
        max_attempts=notification.max_attempts or partner.max_attempts,
        created_at=now,
        updated_at=now,
    )


def _fingerprint(notification: Notification) -> str:
    return idempotency.fingerprint(
        method=notification.method,
        url=notification.target.url,
        headers=notification.headers,
        body=notification.body,
        success_condition=notification.success_condition,
        deliver_at=notification.deliver_at,
    )


def task_id_at(moment: datetime) -> uuid.UUID:
    """A UUIDv7 (RFC 9562, section 5.7) of that moment."""
    made = uuid_utils.uuid7(nanoseconds=int(moment.timestamp() * 1000) * 1_000_000)
    return uuid.UUID(int=made.int)


def _store(task: NotificationTask) -> Accepted:
    """Insert, or find the task that has the key. Two at the same instant: the unique index lets one in."""
    for tries_left in reversed(range(TRIES)):
        try:
            if task.metadata:
                atomically(lambda: lifecycle.accept(task))
            else:
                lifecycle.accept(task)
            return Accepted(task, replay=False)
        except IntegrityError:
            if task.idempotency_key is None:
                raise
            existing = _holder(task.partner, task.idempotency_key)
            # None: whoever held the key rolled back meanwhile, or the task was pruned; the key is free again.
            if existing is not None:
                return _replay(existing, task)
        except OperationalError as error:
            # A duplicate key whose owner rolls back shows as a deadlock to one of those who waited for it.
            if task.metadata or transaction.get_connection().in_atomic_block:
                raise  # was tried again already, or is the caller's to try
            if not conflicted(error) or not tries_left:
                raise
    raise Refused("idempotency_key_contended", "idempotency_key", "The idempotency key is being written; try again.")


def _holder(partner: Partner, key: str | None) -> NotificationTask | None:
    """The task that has the idempotency key."""
    if key is None:
        return None
    held = NotificationTask.objects.filter(partner=partner, idempotency_key=key)
    return held.select_related("partner").defer("body").first()


def _replay(existing: NotificationTask, task: NotificationTask) -> Accepted:
    if existing.fingerprint != task.fingerprint:
        raise Refused(
            "idempotency_key_reused",
            "idempotency_key",
            f"This idempotency key belongs to task {existing.task_id}, which is a different request.",
        )
    return Accepted(existing, replay=True)
