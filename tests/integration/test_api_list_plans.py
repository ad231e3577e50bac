"""GET /v1/notify: by which index the database reads a page, whatever is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifier.models import Status
from tests.support.api import caller, document
from tests.support.factories import is_mysql, make_partner, make_task

pytestmark = pytest.mark.django_db(transaction=True)  # ANALYZE commits

_PAGES = {
    "": "task_id",
    "partner_id={partner}": "task_list_partner",
    "status=pending": "task_list_status",
    "status=failed": "task_list_status",
    "status=succeeded": "task_list_status",
    "dead_reason=blocked": "task_list_dead",
    "partner_id={partner}&status=failed": "task_partner_status",
    "partner_id={partner}&status=dead": "task_partner_status",
}
# Their leases are what there is in flight: few beside the table, and sorted.
_RUNNING = ("status=running", "partner_id={partner}&status=running")


@pytest.mark.parametrize(("query", "index"), _PAGES.items())
def test_a_page_reads_one_index_in_its_order(query: str, index: str) -> None:
    """So that it costs the same whatever else the table holds: no sort, no join."""
    plan = _plan(query)

    assert plan[5] == index
    assert "filesort" not in (plan[-1] or "")


@pytest.mark.parametrize("query", _RUNNING)
def test_a_page_of_what_runs_reads_the_leases_alone(query: str) -> None:
    plan = _plan(query)

    assert (plan[3], plan[5]) == ("range", "task_lease")


def _plan(query: str) -> tuple[Any, ...]:
    """How the database reads the page, among a few hundred tasks of which one runs."""
    if not is_mysql():
        pytest.skip("EXPLAIN of MySQL")
    partner, other = make_partner(), make_partner()
    for _ in range(100):
        make_task(partner)
        make_task(partner, status=Status.FAILED)
        make_task(partner, status=Status.DEAD)
    for status in Status:
        make_task(other, status=status)
    reader = caller()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()
        with CaptureQueriesContext(connection) as queries:
            document(reader.get(f"/v1/notify?{query.format(partner=partner.partner_id)}&limit=5"))
        (read,) = (
            sql["sql"] for sql in queries.captured_queries if "ORDER BY `notifier_notificationtask`" in sql["sql"]
        )
        cursor.execute(f"EXPLAIN {read}")
        (plan,) = cursor.fetchall()
    return tuple(plan)
