"""Accept notifications: check each against its partner, deduplicate, insert, wake. 202 is promised only after this."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import uuid_utils
from prometheus_client import Counter
from structlog.contextvars import get_contextvars

from notifier import clock, deduplication, gate, lifecycle, sealing, secret_store
from notifier.deduplication import Stored
from notifier.lifecycle import NewTask
from notifier.models import ApiKey, NotificationTask, Partner
from notifier.models.task import HIGHEST_PRIORITY
from notifier.partners import Directory
from notifier.partners import own_secrets as partner_secrets
from notifier.policy import destination, header_rules, idempotency, redaction
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

    partner_id: str
    task: Stored
    replay: bool


def accept(notification: Notification, *, key: ApiKey | None) -> Accepted:
    """As ``accept_many``, for one; raises ``Refused``."""
    (outcome,) = accept_many([notification], key=key)
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def accept_many(notifications: Sequence[Notification], *, key: ApiKey | None) -> list[Accepted | Refused]:
    """Store the notifications and wake their partners; what is accepted is committed when this returns.

    One outcome for each, in order; one that is refused harms no other. The same request under the same idempotency key
    gets the task that exists, be it of this batch or older. The broker is not asked for anything here: a wake that cannot
    be published is made up for by the sweep. Raises what the database raises; then nothing is stored, or all of it where
    the connection was lost amid the commit.
    """
    known = partners.by_id({notification.partner_id for notification in notifications})
    now = clock.now()
    outcomes: dict[int, Accepted | Refused] = {}
    new: dict[int, NewTask] = {}
    for index, notification in enumerate(notifications):
        try:
            partner = _partner(notification, known)
            _check(notification, partner, now)
        except Refused as refused:
            outcomes[index] = refused
        else:
            new[index] = _build(notification, partner, key, now)
    made: dict[uuid.UUID, int] = {}
    due: set[str] = set()
    for (index, task), stored in zip(new.items(), deduplication.insert(list(new.values())), strict=True):
        outcomes[index] = _outcome(notifications[index], task, stored)
        if stored is not None and stored.task_id == task.task_id:
            made[task.task_id] = index
            if task.next_attempt_at <= now:
                due.add(notifications[index].partner_id)
    if made:
        accepted_total.inc(len(made))
    if due:
        publisher.wake(due)
    if len(new) < len(notifications):
        outcomes |= _accepted_before(notifications, outcomes, known, made)
    return [outcomes[index] for index in range(len(notifications))]


def _partner(notification: Notification, known: Mapping[str, Partner]) -> Partner:
    partner = known.get(notification.partner_id)
    if partner is None:
        raise Refused("unknown_partner", "partner_id", f"There is no partner {notification.partner_id!r}.")
    return partner


def _outcome(notification: Notification, task: NewTask, stored: Stored | None) -> Accepted | Refused:
    if stored is None:
        return Refused(
            "idempotency_key_contended", "idempotency_key", "The idempotency key is being written; try again."
        )
    if stored.fingerprint != task.fingerprint:
        return Refused(
            "idempotency_key_reused",
            "idempotency_key",
            f"This idempotency key belongs to task {stored.task_id}, which is a different request.",
        )
    return Accepted(notification.partner_id, stored, replay=stored.task_id != task.task_id)


def _accepted_before(
    notifications: Sequence[Notification],
    outcomes: Mapping[int, Accepted | Refused],
    known: Mapping[str, Partner],
    made: Mapping[uuid.UUID, int],
) -> dict[int, Accepted]:
    """Accepted once stays accepted: the same request again gets its task, whatever has changed since."""
    keys = {
        index: (known[notification.partner_id].pk, notification.idempotency_key)
        for index, notification in enumerate(notifications)
        if isinstance(outcomes[index], Refused)
        and notification.idempotency_key is not None
        and notification.partner_id in known
    }
    held = deduplication.holders(keys.values())
    return {
        index: Accepted(notifications[index].partner_id, stored, replay=True)
        for index, key in keys.items()
        if (stored := held.get(key)) is not None
        and stored.fingerprint == _fingerprint(notifications[index])
        # What a later one of this batch made was not there before this one.
        and made.get(stored.task_id, -1) < index
    }


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
    if _elsewhere(target, destination.target(task.target_url)):
        if kept:
            name = next(iter(kept))
            raise Unusable(
                "headers",
                f"{name} was given for another host, port or scheme; write its value anew, or leave the header out.",
            )
        if task.body_sealed:
            raise Unusable(
                "target_url",
                "The body is sealed: it can be sent to the host, port and scheme that it was given for, and to no other.",
            )
    wanted = Notification(
        partner_id=task.partner.partner_id,
        target=target,
        method=task.http_method,
        headers={name: value for name, value in headers.items() if name not in kept},
        body=_body(task),
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


def _elsewhere(target: destination.Target, original: destination.Target) -> bool:
    """Whether what was meant for the original's eyes would be shown to others. From http to https it is not."""
    if target.host != original.host:
        return True
    if (target.scheme, original.scheme) == ("https", "http"):
        return (target.port, original.port) != (443, 80)
    return (target.scheme, target.port) != (original.scheme, original.port)


def _body(task: NotificationTask) -> bytes | None:
    if task.body is None:
        return None
    return sealing.unseal_bytes(bytes(task.body)) if task.body_sealed else bytes(task.body)


def store_replacement(
    original: NotificationTask, notification: Notification, kept: sealing.StoredHeaders
) -> NotificationTask:
    """Insert it, linked to the original. In the caller's transaction; the caller wakes the partner."""
    built = _build(notification, original.partner, None, clock.now(), seal_body=original.body_sealed)
    made = replace(
        built, created_by_id=original.created_by_id, headers={**built.headers, **kept}, replaces=original.task_id
    )
    lifecycle.accept([made])
    return NotificationTask.objects.get(task_id=made.task_id)


def _check(notification: Notification, partner: Partner, now: datetime) -> None:
    if not partner.enabled:
        raise Refused("partner_disabled", "partner_id", f"Partner {partner.partner_id!r} is disabled.")
    if (refusal := gate.refusal(notification.target, partner)) is not None:
        raise Refused(refusal.code, "target_url", refusal.message)
    _check_secrets(notification, partner)
    if notification.deliver_at is not None and notification.deliver_at > now + MAX_DELIVER_AHEAD:
        raise Refused("deliver_at_too_far", "deliver_at", "deliver_at is more than a year ahead.")
    if notification.expires_at is not None and notification.expires_at <= max(notification.deliver_at or now, now):
        raise Refused("expires_too_early", "expires_at", "expires_at is not after now and deliver_at.")


def _check_secrets(notification: Notification, partner: Partner) -> None:
    """Refuse names of secrets that do not exist. No secret is opened here; that is the worker's, at send."""
    named = header_rules.all_secrets_named(notification.headers.values())
    if not named:
        return
    own = partner_secrets(partner)
    if taken := sorted(named & own):
        sentence = f"The secret {taken[0]!r} authenticates or signs for partner {partner.partner_id!r}; no header of a notification may have it."
        raise Refused("unknown_secret", "headers", sentence)
    known = secret_store.backend().known(partner.partner_id, named)
    for name, value in notification.headers.items():
        for secret in header_rules.secrets_named(value):
            if secret not in known:
                sentence = f"Header {name} names a secret {secret!r} that partner {partner.partner_id!r} does not have."
                raise Refused("unknown_secret", "headers", sentence)


def _build(
    notification: Notification, partner: Partner, key: ApiKey | None, now: datetime, *, seal_body: bool = False
) -> NewTask:
    due = max(notification.deliver_at or now, now)
    sealed = (partner.seal_bodies or seal_body) and notification.body is not None
    return NewTask(
        task_id=task_id_at(now),
        partner_id=partner.pk,
        created_by_id=None if key is None else key.pk,
        target_url=notification.target.url,
        http_method=notification.method,
        headers=sealing.seal_headers(notification.headers),
        body=sealing.seal_bytes(notification.body or b"") if sealed else notification.body,
        body_sealed=sealed,
        body_format=notification.body_format,
        content_type=notification.content_type,
        metadata=notification.metadata,
        success_condition=notification.success_condition,
        traceparent=notification.traceparent,
        request_id=get_contextvars().get("request_id"),
        idempotency_key=notification.idempotency_key,
        fingerprint=_fingerprint(notification),
        rank=HIGHEST_PRIORITY - notification.priority,
        next_attempt_at=due,
        deliver_at=notification.deliver_at,
        expires_at=notification.expires_at or due + timedelta(hours=partner.max_age_hours),
        max_attempts=notification.max_attempts or partner.max_attempts,
        created_at=now,
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
