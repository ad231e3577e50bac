"""pending, failed → running (claim), and back (give_back)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Case, Count, F, Q, Value, When

from notifier.models import NotificationTask, Status
from notifier.models.task import HIGHEST_PRIORITY

_COLUMNS = (
    "id", "task_id", "partner_id", "target_url", "http_method", "headers", "body", "body_sealed", "content_type", "success_condition",
    "traceparent", "attempt_count", "attempts_before_requeue", "attempts_excused", "max_attempts", "created_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A task leased for one attempt, as read when it was claimed. ``attempt_count`` is this attempt's number."""

    id: int
    task_id: uuid.UUID
    partner_id: int
    target_url: str
    http_method: str
    headers: Mapping[str, str | dict[str, str]]
    body: bytes | None
    content_type: str | None
    success_condition: str | None
    traceparent: str | None
    attempt_count: int
    attempts_before_requeue: int
    attempts_excused: int
    max_attempts: int
    created_at: datetime
    lease_token: uuid.UUID
    # Whether the body is still a token of notifier.sealing.
    body_sealed: bool = False

    @property
    def attempts_used(self) -> int:
        """Attempts of the present budget that count, this one included."""
        return self.attempt_count - self.attempts_before_requeue - self.attempts_excused

    def __repr__(self) -> str:
        """Without the request: URL, headers and body may hold secrets."""
        return f"Claim({self.task_id}, attempt {self.attempt_count})"


def in_flight(partner_keys: Collection[int], *, now: datetime) -> dict[int, int]:
    """How many requests of these partners may be on the wire, of any worker: their unexpired leases.

    Counted, not kept: a crash leaves leases that run out, never a counter that is wrong. Exact in a transaction that
    holds the partners' locks, because nobody else claims of them meanwhile.
    """
    if not partner_keys:
        return {}
    running = NotificationTask.objects.filter(lease_expires_at__gt=now, partner__in=partner_keys).order_by()
    return dict(running.values_list("partner").annotate(Count("pk")))


def claim(shares: Mapping[int, int], *, now: datetime, lease_for: timedelta) -> list[Claim]:
    """Lease due tasks, at most ``shares[partner key]`` of each partner: higher priority first, then the longest due.

    To be called in a transaction that holds the partners' locks. Nobody else can claim what this returns while the
    lease holds. A crash after the commit leaves running rows, which ``release_expired`` closes as attempts.
    """
    wanted = {partner: share for partner, share in shares.items() if share > 0}
    if not wanted:
        return []
    keys = _due(wanted, now)
    if not keys:
        return []
    token = uuid.uuid4()
    claimed = NotificationTask.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=now), pk__in=keys, next_attempt_at__lte=now
    ).update(
        status=Status.RUNNING,
        next_attempt_at=None,
        lease_token=token,
        lease_expires_at=now + lease_for,
        attempt_count=F("attempt_count") + 1,
        updated_at=now,
    )
    if not claimed:
        return []
    # The token says which of them: others were cancelled or expired between the two statements.
    rows = NotificationTask.objects.filter(pk__in=keys, lease_token=token).values(*_COLUMNS)
    claims = [_claim(row, token) for row in rows]
    position = {key: index for index, key in enumerate(keys)}
    return sorted(claims, key=lambda claim: position[claim.id])


def _claim(row: Mapping[str, Any], token: uuid.UUID) -> Claim:
    body = row["body"]
    return Claim(**{**row, "body": None if body is None else bytes(body)}, lease_token=token)


def _due(shares: Mapping[int, int], now: datetime) -> list[int]:
    """Keys of due tasks, one index range (partner, rank, next_attempt_at) for each partner and rank, no sort."""
    table, rank = (connection.ops.quote_name(name) for name in (NotificationTask._meta.db_table, "rank"))
    ranks = ", ".join(str(number) for number in range(HIGHEST_PRIORITY + 1))
    one = (
        f"SELECT id FROM {table} WHERE partner_id = %s AND {rank} IN ({ranks}) AND next_attempt_at <= %s "  # noqa: S608 - no text of a caller's
        f"ORDER BY {rank}, next_attempt_at LIMIT %s"
    )
    # SQLite takes ORDER BY and LIMIT inside a compound only in a subquery; MySQL would materialise that one.
    part = f"SELECT id FROM ({one})" if connection.vendor == "sqlite" else f"({one})"  # noqa: S608 - no text of a caller's
    due = connection.ops.adapt_datetimefield_value(now)
    parameters: list[Any] = []
    for partner, share in shares.items():
        parameters += [partner, due, share]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([part] * len(shares)), parameters)
        return [key for (key,) in cursor.fetchall()]


def give_back(claims: Sequence[Claim], *, now: datetime) -> int:
    """Undo claims whose requests were not sent: due again now, no attempt counted. Returns how many were undone.

    Claims whose lease was lost meanwhile are left as they are. A crash before the commit leaves the leases, which the
    sweep closes.
    """
    unsent = Q(pk__in=[claim.id for claim in claims], lease_token__in={claim.lease_token for claim in claims})
    return NotificationTask.objects.filter(unsent, status=Status.RUNNING).update(
        status=Case(
            When(attempt_count=F("attempts_before_requeue") + 1, then=Value(Status.PENDING)),
            default=Value(Status.FAILED),
        ),
        attempt_count=F("attempt_count") - 1,
        next_attempt_at=now,
        lease_token=None,
        lease_expires_at=None,
        updated_at=now,
    )
