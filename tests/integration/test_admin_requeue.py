"""Requeue with changes, and in bulk: what operators do with dead letters in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from notifier import sealing
from notifier.models import AuditEntry, BulkRequeue, NotificationTask, Status
from tests.support.factories import HOST, make_partner, make_task
from tests.support.staff import superuser
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

TASKS = "/admin/notifier/notificationtask/"
BULK = "/admin/notifier/bulkrequeue/"


@pytest.fixture
def admin() -> Client:
    return superuser()


def _said(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


# --- Requeue with changes ---


def _replace(client: Client, task: NotificationTask, **given: str) -> Any:
    return client.post(f"{TASKS}{task.pk}/replace/", {"target_url": task.target_url, "headers": ""} | given)


def test_requeue_with_changes_makes_a_linked_task_and_keeps_what_is_sealed(
    admin: Client, woken: list[list[str]]
) -> None:
    headers = sealing.seal_headers({"Authorization": "Bearer TOP-SECRET", "X-Team": "blue"})
    task = make_task(status=Status.DEAD, headers=headers, body=b"{}", metadata={"order": "17"}, idempotency_key="k-17")

    answer = _replace(admin, task, target_url=f"https://{HOST}/v2", headers="Authorization: ***\nX-Team: red")

    made = NotificationTask.objects.get(replaces=task.task_id)
    assert answer["Location"] == f"{TASKS}{made.pk}/change/"
    assert (made.target_url, made.status, bytes(made.body or b""), made.idempotency_key) == (
        f"https://{HOST}/v2",
        "pending",
        b"{}",
        None,
    )
    assert made.headers == {"Authorization": headers["Authorization"], "X-Team": "red"}
    assert (made.metadata, made.labels.count(), made.attempt_count) == ({"order": "17"}, 1, 0)
    task.refresh_from_db()
    assert task.status == Status.DEAD
    assert woken == [[task.partner.partner_id]]
    entries = AuditEntry.objects.order_by("pk").values_list("action", "object_id", "actor")
    assert list(entries) == [("task.replace", str(task.task_id), "root"), ("task.create", str(made.task_id), "root")]
    assert "TOP-SECRET" not in str(list(AuditEntry.objects.values()))
    assert str(made.task_id) in admin.get(f"{TASKS}{task.pk}/change/").content.decode()
    assert str(task.task_id) in admin.get(f"{TASKS}{made.pk}/change/").content.decode()


def test_a_waiting_original_is_cancelled_so_that_not_both_are_sent(admin: Client, woken: list[list[str]]) -> None:
    task = make_task(status=Status.FAILED)

    _replace(admin, task, headers="X-A: b")

    task.refresh_from_db()
    assert (task.status, task.dead_reason) == ("dead", "cancelled")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        case({"target_url": "https://elsewhere.example.org/"}, "allow", id="host"),
        case({"target_url": "ftp://x"}, "cannot be used", id="scheme"),
        case({"target_url": ""}, "required", id="empty"),
        case({"headers": "Host: x"}, "Host", id="forbidden-header"),
        case({"headers": "X-A: {{secret:nobody}}"}, "secret", id="unknown-secret"),
        case({"headers": "X-B: ***"}, "no such header", id="nothing-to-keep"),
        case({"headers": "no colon"}, "one header a line", id="no-header"),
        case(
            {"target_url": "https://other.example.com/", "headers": "Authorization: ***"},
            "another host",
            id="sealed-elsewhere",
        ),
        case(
            {"target_url": f"http://{HOST}/in", "headers": "Authorization: ***"},
            "another host, port",
            id="sealed-in-clear",
        ),
        case(
            {"target_url": f"https://{HOST}:80/in", "headers": "Authorization: ***"},
            "another host, port",
            id="sealed-to-another-port",
        ),
    ],
)
def test_what_an_accept_would_refuse_is_refused_and_nothing_changes(
    admin: Client, woken: list[list[str]], given: dict[str, str], why: str
) -> None:
    partner = make_partner(allow_hosts=[HOST, "other.example.com"])
    task = make_task(partner, status=Status.FAILED, headers=sealing.seal_headers({"Authorization": "x"}))

    answer = _replace(admin, task, **given)

    assert answer.status_code == 200
    assert why in str(answer.context["form"].errors)
    task.refresh_from_db()
    assert (task.status, NotificationTask.objects.count(), AuditEntry.objects.count(), woken) == ("failed", 1, 0, [])


def test_a_sealed_body_stays_sealed_and_where_it_was_meant_for(admin: Client, woken: list[list[str]]) -> None:
    partner = make_partner(allow_hosts=[HOST, "other.example.com"])
    body = sealing.seal_bytes(b"hunter2")
    task = make_task(partner, status=Status.DEAD, body=body, body_sealed=True)

    refused = _replace(admin, task, target_url="https://other.example.com/in")
    assert "sealed" in str(refused.context["form"].errors)
    _replace(admin, task, target_url=f"https://{HOST}/v2")

    made = NotificationTask.objects.get(replaces=task.task_id)
    assert made.body_sealed
    assert sealing.unseal_bytes(bytes(made.body or b"")) == b"hunter2"


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.SUCCEEDED])
def test_what_cannot_be_requeued_is_not_replaced(admin: Client, woken: list[list[str]], status: Status) -> None:
    answer = _replace(admin, make_task(status=status))

    assert "only failed and dead ones" in str(answer.context["form"].errors)
    assert (NotificationTask.objects.count(), AuditEntry.objects.count(), woken) == (1, 0, [])


# --- Bulk requeue ---


def test_a_bulk_requeue_is_previewed_begun_watched_and_stopped(admin: Client) -> None:
    partner = make_partner()
    for _ in range(3):
        make_task(partner, status=Status.DEAD, last_error_code="http_503")
    make_task(status=Status.DEAD)
    given = {"partner": partner.partner_id, "error": "http_503", "per_second": "2"}

    preview = admin.post(f"{BULK}start/", given | {"preview": ""})
    assert "3 dead tasks match." in preview.content.decode()
    assert BulkRequeue.objects.count() == 0

    begun = admin.post(f"{BULK}start/", given | {"begin": ""})
    job = BulkRequeue.objects.get()
    assert begun["Location"] == f"{BULK}{job.pk}/change/"
    assert (job.wanted, job.per_second, job.matched) == (
        {"partner_id": partner.partner_id, "error_code": "http_503"},
        2,
        3,
    )
    assert "0 of 3" in admin.get(begun["Location"]).content.decode()
    assert "0 of 3" in admin.get(BULK).content.decode()

    assert _said(admin.post(f"{BULK}{job.pk}/stop/")) == ["It was stopped after 0 tasks; those stay requeued."]
    assert _said(admin.post(f"{BULK}{job.pk}/stop/"))[-1:] == ["It had ended already. Nothing was changed."]
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "bulk_requeue.begin",
        "bulk_requeue.stop",
    ]


def test_the_lists_filters_are_taken_over(admin: Client) -> None:
    page = admin.get(f"{TASKS}?http=503&partner=acme&dead_reason__exact=exhausted").context["cl"]

    form = admin.get(page.bulk_address).context["form"]

    assert {name: form[name].value() for name in ("partner", "dead_reason", "error")} == {
        "partner": "acme", "dead_reason": "exhausted", "error": "http_503",
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"partner": "nobody"},
        {"after": "soon"},
        {"label": "x"},
        {"error": "x", "per_second": "0"},
        {"error": "x", "per_second": "1001"},
    ],
)
def test_a_bulk_requeue_that_is_not_clear_does_not_begin(admin: Client, given: dict[str, str]) -> None:
    make_task(status=Status.DEAD)

    answer = admin.post(f"{BULK}start/", {"per_second": "5"} | given | {"begin": ""})

    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert BulkRequeue.objects.count() == 0
