"""pending, failed → running (claim), and back (give_back)."""

from __future__ import annotations

import functools
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from django.db import connection
from django.db.models import Count, F, Q

from notifier.lifecycle.rowwise import listed, stored_uuid
from notifier.models import NotificationTask, Status
from notifier.models.task import HIGHEST_PRIORITY, ROOM_OF_A_RECORD

# Of a small table MySQL would read, and lock, every row, and wait for whoever has locked one of them.
_BY_KEY = {"mysql": "FORCE INDEX (PRIMARY)", "sqlite": ""}


class Claim(NamedTuple):
    """A task leased for one attempt, as read when it was claimed. ``attempt_count`` is this attempt's number.

    A tuple: a thousand are made each second, and a frozen dataclass of so many fields takes ten times as long.
    """

    id: int
    # As text, as everybody is shown it.
    task_id: str
    partner_id: int
    target_url: str
    http_method: str
    headers: Mapping[str, str | dict[str, str]]
    body: bytes | None
    # Whether the body is still a token of notifier.sealing.
    body_sealed: bool
    content_type: str | None
    success_condition: str | None
    traceparent: str | None
    attempt_count: int
    attempts_before_requeue: int
    attempts_excused: int
    max_attempts: int
    created_at: datetime
    deliver_at: datetime | None
    request_id: str | None
    # Not a column's value: the token as it is written, and whether the task had been due for longer than ``late_after``.
    lease_token: uuid.UUID
    late: bool = False

    @property
    def attempts_used(self) -> int:
        """Attempts of the present budget that count, this one included."""
        return self.attempt_count - self.attempts_before_requeue - self.attempts_excused

    def __repr__(self) -> str:
        """Without the request: URL, headers and body may hold secrets."""
        return f"Claim({self.task_id}, attempt {self.attempt_count})"


# What is read of the row: the first fields.
_COLUMNS = Claim._fields[: Claim._fields.index("lease_token")]
_TASK_ID, _HEADERS, _BODY, _BODY_SEALED, _CREATED_AT, _DELIVER_AT = map(
    _COLUMNS.index, ("task_id", "headers", "body", "body_sealed", "created_at", "deliver_at")
)


def in_flight(partner_keys: Collection[int], *, now: datetime) -> dict[int, int]:
    """How many requests of these partners may be on the wire, of any worker: their unexpired leases.

    Counted, not kept: a crash leaves leases that run out, never a counter that is wrong. Exact in a transaction that
    holds the partners' locks, because nobody else claims of them meanwhile.
    """
    if not partner_keys:
        return {}
    running = NotificationTask.objects.filter(lease_expires_at__gt=now, partner__in=partner_keys).order_by()
    return dict(running.values_list("partner").annotate(Count("pk")))


def claim(
    shares: Mapping[int, int],
    *,
    now: datetime,
    lease_for: timedelta,
    found: Counter[int] | None = None,
    late_after: timedelta = timedelta(seconds=1),
) -> list[Claim]:
    """Lease due tasks, at most ``shares[partner key]`` of each partner: higher priority first, then the longest due.

    ``found`` gets how many due ones were seen of each partner: more than are leased where some have expired.

    To be called in a transaction that holds the partners' locks. Nobody else can claim what this returns while the
    lease holds. A crash after the commit leaves running rows, which ``release_expired`` closes as attempts.
    """
    wanted = {partner: share for partner, share in shares.items() if share > 0}
    if not wanted:
        return []
    due = _due(wanted, now, late_before=now - late_after)
    if found is not None:
        found.update(partner for _, partner, _ in due)
    keys = [key for key, _, _ in due]
    if not keys:
        return []
    token = uuid.uuid4()
    if not _lease(keys, token, now=now, until=now + lease_for):
        return []
    claims = _leased(keys, token, late={key for key, _, late in due if late})
    position = {key: index for index, key in enumerate(keys)}
    return sorted(claims, key=lambda claim: position[claim.id])


def _lease(keys: Sequence[int], token: uuid.UUID, *, now: datetime, until: datetime) -> int:
    """Those that are still due, and have not expired; how many."""
    moment = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_table()} {_BY_KEY[connection.vendor]} SET status = %s, next_attempt_at = NULL, lease_token = %s, "  # noqa: S608 - no text of a caller's
            f"lease_expires_at = %s, attempt_count = attempt_count + 1, updated_at = %s, room = SUBSTR(room, 1, {ROOM_OF_A_RECORD}) "
            f"WHERE id IN ({listed(keys)}) AND next_attempt_at <= %s AND (expires_at IS NULL OR expires_at > %s)",
            [Status.RUNNING.value, stored_uuid(token), moment(until), moment(now), moment(now), moment(now)],
        )
        return int(cursor.rowcount)


def _leased(keys: Sequence[int], token: uuid.UUID, late: Collection[int]) -> list[Claim]:
    """Those of the keys that have the token: others were cancelled or expired between the statements.

    Rows as the driver gives them, because the model's way to values costs as much as the request itself.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_columns()} FROM {_table()} WHERE id IN ({listed(keys)}) AND lease_token = %s",  # noqa: S608 - no text of a caller's
            [stored_uuid(token)],
        )
        rows = cursor.fetchall()
    has_hyphens = connection.features.has_native_uuid_field
    return [_claim(row, token, late, has_hyphens=has_hyphens) for row in rows]


def _claim(row: Sequence[Any], token: uuid.UUID, late: Collection[int], *, has_hyphens: bool) -> Claim:
    values = [*row, token, row[0] in late]
    if not has_hyphens:
        values[_TASK_ID] = str(uuid.UUID(values[_TASK_ID]))
    values[_HEADERS] = orjson.loads(values[_HEADERS])
    values[_BODY] = None if values[_BODY] is None else bytes(values[_BODY])
    values[_BODY_SEALED] = bool(values[_BODY_SEALED])
    for moment in (_CREATED_AT, _DELIVER_AT):
        values[moment] = _moment(values[moment])
    return Claim._make(values)


def _moment(value: datetime | str | None) -> datetime | None:
    """MySQL's driver leaves out the zone, which is UTC; SQLite has text."""
    if value is None:
        return None
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).replace(tzinfo=UTC)


@functools.cache
def _columns() -> str:
    return ", ".join(connection.ops.quote_name(name) for name in _COLUMNS)


@functools.cache
def _table() -> str:
    return connection.ops.quote_name(NotificationTask._meta.db_table)


def _due(shares: Mapping[int, int], now: datetime, *, late_before: datetime) -> list[tuple[int, int, int]]:
    """Keys of due tasks, their partners, and whether they were due before then: one index range (partner, rank, next_attempt_at) for each partner and rank, no sort."""
    table, rank = _table(), connection.ops.quote_name("rank")
    ranks = ", ".join(str(number) for number in range(HIGHEST_PRIORITY + 1))
    # SQLite takes ORDER BY and LIMIT inside a compound only in a subquery; MySQL would materialise that one.
    start = "SELECT id, partner_id, late FROM (" if connection.vendor == "sqlite" else "("
    parts = [
        f"{start}SELECT id, partner_id, next_attempt_at < %s AS late FROM {table} WHERE partner_id = {int(partner)} "  # noqa: S608 - no text of a caller's
        f"AND {rank} IN ({ranks}) AND next_attempt_at <= %s ORDER BY {rank}, next_attempt_at LIMIT {int(share)})"
        for partner, share in shares.items()
    ]
    due, late = map(connection.ops.adapt_datetimefield_value, (now, late_before))
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), [late, due] * len(shares))
        return list(cursor.fetchall())


def give_back(claims: Sequence[Claim], *, now: datetime) -> int:
    """Undo claims whose requests were not sent: due again now, no attempt counted. Returns how many were undone.

    Claims whose lease was lost meanwhile are left as they are. A crash before the commit leaves the leases, which the
    sweep closes.
    """
    unsent = Q(pk__in=[claim.id for claim in claims], lease_token__in={claim.lease_token for claim in claims})
    return NotificationTask.objects.filter(unsent, status=Status.RUNNING).update(
        status=F("status_at_rest"),
        attempt_count=F("attempt_count") - 1,
        next_attempt_at=now,
        lease_token=None,
        lease_expires_at=None,
        updated_at=now,
    )
