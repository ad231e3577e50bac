"""Rows that are inserted many at once, past the models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.lifecycle.rowwise import INSERTED_AT_ONCE, insert_rows
from notifier.models import AttemptStatus, NotificationAttempt
from tests.support.factories import make_task

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ODD = "100% of 'it' \\ \"%s\" é \U0001f600 \x00 %(name)s --"


def _rows(count: int, **fields: Any) -> list[dict[str, Any]]:
    common = {
        "task_id": make_task().pk, "status": AttemptStatus.FAILED.value, "error_message": ODD, "error_code": None,
        "latency_ms": 0.1, "response_headers": [["X", ODD]], "response_body": ODD, "created_at": NOW,
    }  # fmt: skip
    return [common | {"attempt_no": number} | fields for number in range(1, count + 1)]


def _stored() -> list[dict[str, Any]]:
    names = (
        "task_id", "attempt_no", "status", "error_message", "error_code", "latency_ms", "response_headers", "response_body",
        "created_at",
    )  # fmt: skip
    return list(NotificationAttempt.objects.order_by("attempt_no").values(*names))


@pytest.mark.parametrize("count", [1, INSERTED_AT_ONCE, INSERTED_AT_ONCE + 1])
def test_what_is_the_same_in_all_rows_is_in_each(count: int) -> None:
    rows = _rows(count)

    insert_rows(NotificationAttempt, rows)

    assert _stored() == rows


def test_what_differs_is_each_rows_own() -> None:
    rows = _rows(3)
    rows[1] |= {"error_message": None, "latency_ms": 2.5, "response_body": "other"}
    rows[2] |= {"error_code": "http_503", "response_headers": []}

    insert_rows(NotificationAttempt, rows)

    assert _stored() == rows


def test_numbers_keep_every_digit() -> None:
    rows = _rows(5)
    for row, latency in zip(rows, (2.5e-07, 0.1 + 0.2, 1e22, 86_400_000.001, 7.0), strict=True):
        row["latency_ms"] = latency

    insert_rows(NotificationAttempt, rows)

    assert [row["latency_ms"] for row in _stored()] == [row["latency_ms"] for row in rows]
