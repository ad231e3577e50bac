"""The admin's actions on ticked tasks: requeue and cancel, and who may."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifier import clock
from notifier.models import NotificationTask, Status
from notifier.models.task import DeadReason
from tests.support.factories import make_partner, make_task
from tests.support.staff import staff, superuser

pytestmark = pytest.mark.django_db

TASKS = "/admin/notifier/notificationtask/"


@pytest.fixture
def admin() -> Client:
    return superuser()


def _text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def _act(client: Client, action: str, tasks: Iterable[NotificationTask], query: str = "", **fields: Any) -> list[str]:
    """Post the action with these tasks ticked; the messages that it says."""
    data = {"action": action, "_selected_action": [str(task.pk) for task in tasks], "index": "0"} | fields
    answer = client.post(f"{TASKS}{query}", data)
    assert answer.status_code == 302
    return [str(message) for message in get_messages(answer.wsgi_request)]


def _rows() -> list[dict[str, Any]]:
    return [dict(row) for row in NotificationTask.objects.order_by("pk").values()]


def test_requeue_moves_what_may_move_and_says_how_many(admin: Client, woken: list[list[str]]) -> None:
    acme, globex = make_partner(partner_id="acme"), make_partner(partner_id="globex")
    dead = make_task(acme, status=Status.DEAD, attempt_count=10)
    failed = make_task(globex, status=Status.FAILED, next_attempt_at=clock.read() + timedelta(hours=1))
    others = [make_task(status=status) for status in (Status.PENDING, Status.RUNNING, Status.SUCCEEDED)]
    before = [row for row in _rows() if row["id"] in {task.pk for task in others}]

    said = _act(admin, "requeue", [dead, failed, *others])

    assert said == [
        "2 tasks were requeued.",
        "3 tasks were not requeued: only those that are failed or dead can be.",
    ]
    dead.refresh_from_db()
    failed.refresh_from_db()
    assert [(task.status, task.next_attempt_at is not None) for task in (dead, failed)] == [(Status.PENDING, True)] * 2
    assert (dead.attempts_before_requeue, dead.dead_reason) == (10, None)
    assert [row for row in _rows() if row["id"] in {task.pk for task in others}] == before
    assert woken == [["acme", "globex"]]
    log = LogEntry.objects.order_by("object_id").values_list("object_repr", "change_message")
    assert sorted(log) == sorted((str(task.task_id), "Requeued.") for task in (dead, failed))


def test_requeue_costs_the_same_for_each_task(admin: Client, woken: list[list[str]]) -> None:
    costs = []
    for count in (1, 2, 5):
        tasks = [make_task(status=Status.DEAD) for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            _act(admin, "requeue", tasks)
        costs.append(len(queries))

    # What it was, the update, what it is, the audit entry; and the savepoint around them that is a transaction outside of a test.
    assert [costs[1] - costs[0], costs[2] - costs[1]] == [6, 18]
    assert len(woken) == 3


def test_cancel_ends_what_is_unfinished_and_wakes_nobody(admin: Client, woken: list[list[str]]) -> None:
    unfinished = [make_task(status=status) for status in (Status.PENDING, Status.FAILED, Status.RUNNING)]
    finished = make_task(status=Status.SUCCEEDED)

    said = _act(admin, "cancel", [*unfinished, finished])

    assert said == [
        "3 tasks were cancelled.",
        "1 task was not cancelled: only those that are pending, failed or running can be.",
    ]
    reasons = NotificationTask.objects.filter(status=Status.DEAD).values_list("dead_reason", flat=True)
    assert list(reasons) == [DeadReason.CANCELLED] * 3
    finished.refresh_from_db()
    assert finished.status == Status.SUCCEEDED
    assert woken == []


def test_where_none_may_move_nothing_is_logged_or_woken(admin: Client, woken: list[list[str]]) -> None:
    task = make_task(status=Status.SUCCEEDED)
    before = _rows()

    said = _act(admin, "requeue", [task])

    assert said == ["1 task was not requeued: only those that are failed or dead can be."]
    assert (_rows(), woken, LogEntry.objects.count()) == (before, [], 0)


def test_a_task_that_left_the_filter_meanwhile_is_counted_as_not_moved(admin: Client, woken: list[list[str]]) -> None:
    failed, succeeded = make_task(status=Status.FAILED), make_task(status=Status.SUCCEEDED)

    said = _act(admin, "requeue", [failed, succeeded], "?status__exact=failed")

    assert said[0] == "1 task was requeued."
    assert said[1].startswith("1 task was not requeued")


@pytest.mark.parametrize("fields", [{"select_across": "1"}, {"_selected_action": ["1 OR 1=1"]}])
def test_an_action_takes_only_ticked_rows(admin: Client, woken: list[list[str]], fields: dict[str, Any]) -> None:
    task = make_task(status=Status.DEAD)
    before = _rows()

    said = _act(admin, "requeue", [task], **fields)

    assert said == ["Only tasks that are ticked on the page can be acted on. None was changed."]
    assert (_rows(), woken) == (before, [])


@pytest.mark.parametrize("action", ["requeue", "cancel", "delete_selected"])
def test_who_may_only_look_has_no_actions(woken: list[list[str]], action: str) -> None:
    client = staff("view_notificationtask", "view_notificationattempt")
    tasks = [make_task(status=Status.DEAD), make_task()]
    before = _rows()

    page = _text(client, TASKS)
    client.post(TASKS, {"action": action, "_selected_action": [str(task.pk) for task in tasks], "index": "0"})

    assert "_selected_action" not in page
    assert (_rows(), woken, LogEntry.objects.count()) == (before, [], 0)


def test_the_change_permission_is_what_the_actions_ask_for(woken: list[list[str]]) -> None:
    client = staff("change_notificationtask")
    task = make_task(status=Status.DEAD)

    assert _act(client, "requeue", [task]) == ["1 task was requeued."]
    assert woken == [[task.partner.partner_id]]
