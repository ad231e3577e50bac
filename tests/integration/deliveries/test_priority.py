"""Priority within a partner, beside a large backlog."""

from __future__ import annotations

import pytest
from django.db import connection

from notifier.models import NotificationTask, Partner
from tests.support.factories import is_mysql, make_partner, make_task
from tests.support.stations import Stations

pytestmark = pytest.mark.django_db(transaction=True)

BACKLOG = 50_000
FIVE, NINE = 4, 0  # ranks


def _backlog(partner: Partner) -> None:
    """Copies of one task, made in the database: fifty thousand INSERTs would be most of the suite's time."""
    template = make_task(partner, rank=FIVE)
    quote = connection.ops.quote_name
    table = quote(NotificationTask._meta.db_table)
    copied = ", ".join(
        quote(str(field.column))
        for field in NotificationTask._meta.concrete_fields
        if field.name not in ("id", "task_id") and not field.generated
    )
    new_id = "REPLACE(UUID(), '-', '')" if is_mysql() else "lower(hex(randomblob(16)))"
    copy = f"INSERT INTO {table} (task_id, {copied}) SELECT {new_id}, {copied} FROM {table} LIMIT %s"
    rows = 1
    with connection.cursor() as cursor:
        while rows < BACKLOG:
            cursor.execute(copy, [BACKLOG - rows])
            rows += cursor.rowcount
    assert NotificationTask.objects.filter(partner=partner, rank=template.rank).count() == BACKLOG


def _rows_read() -> int:
    """By this connection, in indexes and tables."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())


def test_one_of_priority_nine_goes_out_with_the_next_claim_before_50_000_of_five() -> None:
    partner = make_partner()
    _backlog(partner)
    stations = Stations()
    stations.turn(partner)
    urgent = make_task(partner, rank=NINE)

    before = _rows_read() if is_mysql() else 0
    sent = stations.turn(partner)
    read = _rows_read() - before if is_mysql() else 0

    assert sent[0].claim.id == urgent.pk
    assert len(sent) > 1
    # The rows that were taken, a few times each, and the partner's own: not the backlog.
    assert read <= 10 * len(sent) + 100
