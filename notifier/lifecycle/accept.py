"""– → pending."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from django.db import connection
from django.db.models import Model

from notifier.lifecycle.rowwise import marks
from notifier.models import NotificationLabel, NotificationTask, Status
from notifier.models.label import label_digest
from notifier.sealing import StoredHeaders

# Larger statements are divided: servers refuse those of more than 16 MiB (max_allowed_packet), and quoting may double one.
STATEMENT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """The columns of a task that differ from one new task to the next; ``partner_id`` is the partner's key."""

    task_id: uuid.UUID
    partner_id: int
    created_by_id: int | None = None
    target_url: str
    http_method: str
    headers: StoredHeaders
    body: bytes | None = None
    body_sealed: bool = False
    body_format: str | None = None
    content_type: str | None = None
    metadata: Mapping[str, str]
    success_condition: str | None = None
    traceparent: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    fingerprint: str
    rank: int
    next_attempt_at: datetime
    deliver_at: datetime | None = None
    expires_at: datetime | None
    max_attempts: int
    created_at: datetime
    replaces: uuid.UUID | None = None


def accept(tasks: Sequence[NewTask]) -> None:
    """Insert new tasks and their labels, each due at its ``next_attempt_at``: all of them or none.

    Raises ``IntegrityError`` where a partner has a task under one of these idempotency keys already. Without metadata it is
    one INSERT, its own transaction; where ``needs_transaction`` says so, the caller's transaction holds it together. A
    crash before the commit leaves nothing, one after it leaves tasks that the sweep finds.
    """
    labels = [(task.task_id, label_digest(name, value)) for task in tasks for name, value in task.metadata.items()]
    with connection.cursor() as cursor:
        for group in _groups(tasks):
            start, end = _task_statement()
            values: list[Any] = []
            rows = [f"({','.join(marks(_values(task), values))}{end})" for task in group]
            cursor.execute(start + ",".join(rows), values)
        if labels:
            start, row = _label_statement()
            values = [value for task_id, digest in labels for value in (_uuid(task_id), digest)]
            cursor.execute(start + ",".join([row] * len(labels)), values)


def needs_transaction(tasks: Sequence[NewTask]) -> bool:
    """Whether ``accept`` takes more than one statement for these."""
    return any(task.metadata for task in tasks) or sum(map(_size, tasks)) > STATEMENT_BYTES


def _groups(tasks: Sequence[NewTask]) -> Iterable[Sequence[NewTask]]:
    group: list[NewTask] = []
    size = 0
    for task in tasks:
        size += _size(task)
        if group and size > STATEMENT_BYTES:
            yield group
            group, size = [], _size(task)
        group.append(task)
    yield group


def _size(task: NewTask) -> int:
    return 0 if task.body is None else len(task.body)


# Column → how a new task fills it. The others stand in the statement as their defaults, or are NULL.
_GIVEN = (
    "task_id", "partner_id", "created_by_id", "target_url", "http_method", "headers", "body", "body_sealed",
    "body_format",     "content_type", "metadata", "success_condition", "traceparent", "request_id", "idempotency_key", "fingerprint", "rank",
    "next_attempt_at", "deliver_at", "expires_at", "max_attempts", "created_at", "updated_at", "replaces",
)  # fmt: skip


def _values(task: NewTask) -> tuple[Any, ...]:
    """In the order of ``_GIVEN``."""
    created_at = _time(task.created_at)
    return (
        _uuid(task.task_id), task.partner_id, task.created_by_id, task.target_url, task.http_method,
        _json(task.headers), task.body, task.body_sealed, task.body_format, task.content_type, _json(task.metadata),
        task.success_condition, task.traceparent, task.request_id, task.idempotency_key, task.fingerprint, task.rank,
        created_at if task.next_attempt_at is task.created_at else _time(task.next_attempt_at),
        _time(task.deliver_at), _time(task.expires_at), task.max_attempts, created_at, created_at,
        None if task.replaces is None else _uuid(task.replaces),
    )  # fmt: skip


@cache
def _task_statement() -> tuple[str, str]:
    """The INSERT up to its rows, and the end of each.

    What the model gives every new task (numbers; never text) is written out, so that a column that is added to the model
    with a default is filled here too. What the database gives it is left to it.
    """
    table = NotificationTask._meta
    rest = [
        field
        for field in table.concrete_fields
        if not (field.primary_key or field.null or field.generated or field.has_db_default() or field.attname in _GIVEN)
    ]
    columns = [_column(NotificationTask, name) for name in _GIVEN] + [
        _column(NotificationTask, field.name) for field in rest
    ]
    ends = [f"'{Status.PENDING.value}'" if field.name == "status" else str(int(field.get_default())) for field in rest]
    return _insert(table.db_table, columns), "".join(f",{end}" for end in ends)


@cache
def _label_statement() -> tuple[str, str]:
    columns = [_column(NotificationLabel, name) for name in ("task_id", "digest")]
    return _insert(NotificationLabel._meta.db_table, columns), "(%s,%s)"


def _column(model: type[Model], name: str) -> str:
    return next(str(field.column) for field in model._meta.concrete_fields if name in (field.name, field.attname))


def _insert(table: str, columns: Iterable[str]) -> str:
    quote = connection.ops.quote_name
    return f"INSERT INTO {quote(table)} ({','.join(map(quote, columns))}) VALUES "  # noqa: S608 - names of the model's


def _uuid(value: uuid.UUID) -> str:
    # Where there is a column type for it, it takes both forms.
    return value.hex


def _time(value: datetime | None) -> str | None:
    return None if value is None else str(value.astimezone(UTC).replace(tzinfo=None))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode() if value else "{}"
