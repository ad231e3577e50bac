"""Filling a database by SQL: two million notifications in a minute or two."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from notifier.models import Partner

CHUNK = 50_000
# created_at and task_id of row number seq of {rows}: evenly over {hours} hours, the newest {since} hours ago.
_AGE_MS = "ROUND(({since} + {hours} * ({rows} - seq) / {rows}) * 3600000)"
_ID = "CONCAT(LPAD(HEX({now_ms} - age_ms), 12, '0'), '7', LPAD(HEX(seq % 4096), 3, '0'), '8{kind}', LPAD(HEX(seq), 14, '0'))"
_FILL = """
INSERT INTO notifier_notificationtask (task_id, partner_id, target_url, http_method, headers, body, body_format, metadata,
  idempotency_key, fingerprint, status, dead_reason, `rank`, next_attempt_at, expires_at, max_attempts, attempt_count,
  attempts_before_requeue, attempts_excused, created_at, updated_at, finished_at)
SELECT {task_id}, partner, 'https://hooks.example.com/in', 'POST', '{{}}', REPEAT('x', 256), 'body_text', '{{}}',
  IF(seq % 4 = 0, CONCAT('{kind}-', seq), NULL), REPEAT('0', 64), {columns},
  10, attempts, 0, 0, created_at, created_at, finished_at
FROM (SELECT seq, age_ms, UTC_TIMESTAMP(6) - INTERVAL age_ms * 1000 MICROSECOND AS created_at, {values}
  FROM (SELECT seq, {age} AS age_ms FROM seq_{first}_to_{last}) AS aged) AS made
"""
# Half of them the first partner's; of each partner's half not due yet.
_WAITING = {
    "columns": "'pending', NULL, 4, due_at, created_at + INTERVAL 1 YEAR",
    "values": (
        "ELT(1 + IF(seq % 2, 0, 1 + seq DIV 2 % {others}), {partners}) AS partner, 0 AS attempts, NULL AS finished_at, "
        "UTC_TIMESTAMP(6) + INTERVAL IF(seq DIV 80 % 2, seq % 86400 + 3600, -(seq % 3600) - 1) SECOND AS due_at"
    ),
}
# One in twenty of them dead, one in 2,000 for a rare reason.
_FINISHED = {
    "columns": "IF(reason IS NULL, 'succeeded', 'dead'), reason, 4, NULL, created_at + INTERVAL 3 DAY",
    "values": (
        "ELT(1 + seq % ({others} + 1), {partners}) AS partner, 1 AS attempts, "
        "UTC_TIMESTAMP(6) - INTERVAL age_ms * 1000 - 500000 MICROSECOND AS finished_at, "
        "IF(seq % 2000 = 7, 'blocked', IF(seq % 20 = 3, 'exhausted', NULL)) AS reason"
    ),
}
_ATTEMPTS = """
INSERT INTO notifier_notificationattempt (task_id, attempt_no, status, http_status_code, latency_ms, remote_ip,
  response_headers, response_body, created_at)
SELECT id, 1, IF(status = 'succeeded', 'succeeded', 'failed'), 200, 12.5, '192.0.2.1', '[]', REPEAT('x', 100), finished_at
FROM notifier_notificationtask WHERE finished_at IS NOT NULL AND id BETWEEN {first} AND {last}
"""


def fill(partners: Sequence[Partner], *, waiting: int, finished: int) -> None:
    """Rows of each kind, older ones first; the first partner is the one that has half of those that wait."""
    # Finished ones 4 to 1 days ago: nothing is old enough to be pruned.
    _tasks("f", _FINISHED, partners, finished, since=24, hours=72)
    _tasks("e", _WAITING, partners, waiting, since=0, hours=24)
    with connection.cursor() as cursor:
        cursor.execute("SELECT MAX(id) FROM notifier_notificationtask")
        (last,) = cursor.fetchone()
        for first in range(1, last + 1, CHUNK):
            cursor.execute(_ATTEMPTS.format(first=first, last=first + CHUNK - 1))
        cursor.execute("ANALYZE TABLE notifier_notificationtask, notifier_notificationattempt")
        cursor.fetchall()


def _tasks(kind: str, what: dict[str, str], partners: Sequence[Partner], rows: int, *, since: int, hours: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ROUND(UNIX_TIMESTAMP(NOW(6)) * 1000)")
        (now_ms,) = cursor.fetchone()
        for first in range(1, rows + 1, CHUNK):
            values = what["values"].format(
                others=len(partners) - 1, partners=", ".join(str(each.pk) for each in partners)
            )
            cursor.execute(
                _FILL.format(
                    task_id=_ID.format(now_ms=now_ms, kind=kind),
                    kind=kind,
                    columns=what["columns"],
                    values=values,
                    age=_AGE_MS.format(rows=rows, since=since, hours=hours),
                    first=first,
                    last=min(first + CHUNK - 1, rows),
                )
            )
