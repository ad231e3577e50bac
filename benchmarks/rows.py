"""Rows by the ten thousand, copied from one that was accepted through the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TASKS = "notifier_notificationtask"
# What differs between a task that was accepted through the API and its copies.
FRESH_TASK = {
    "task_id": "UUID()", "status": "'pending'", "next_attempt_at": "UTC_TIMESTAMP(6)", "created_at": "UTC_TIMESTAMP(6)",
    "updated_at": "UTC_TIMESTAMP(6)",
}  # fmt: skip
# What a delivery wrote into a row, taken out again.
UNTRIED = dict.fromkeys(
    (
        "finished_at", "last_attempt_no", "last_attempt_status", "last_http_status_code", "last_error_code",
        "last_error_message", "last_latency_ms", "last_attempt_at", "dead_reason", "lease_token", "lease_expires_at",
    ),
    "NULL",
) | {"attempt_count": "0", "room": "DEFAULT(c.room)"}  # fmt: skip


def copy_rows(
    database: Any,
    table: str,
    changes: Mapping[str, str],
    *,
    source: str,
    where: str,
    parameters: Sequence[Any] = (),
    template: str = "",
) -> int:
    """Insert copies of the rows of ``template`` (by default the table itself; as ``c``) joined with ``source``.

    Returns how many. ``changes`` are SQL expressions for the columns that differ; what else the table has is copied,
    whatever it is.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s "
            "AND extra NOT LIKE '%%auto_increment%%' AND generation_expression IS NULL ORDER BY ordinal_position",
            [table],
        )
        columns = [name for (name,) in cursor.fetchall()]
        names = ", ".join(f"`{name}`" for name in columns)
        values = ", ".join(changes.get(name, f"c.`{name}`") for name in columns)
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM {template or table} c, {source} WHERE {where}",
            parameters or None,
        )
        return int(cursor.rowcount)
