"""What operators do in the admin: filter, search, read a task's page and the dashboard, try a partner; and what each role may do."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifier import clock, rollup, sealing, time_limit
from notifier.admin import curl, tasks
from notifier.admin.change_list import NewestFirst
from notifier.models import AttemptStatus, AuditEntry, BulkRequeue, NotificationTask, Partner, Status
from tests.support.factories import HOST, is_mysql, make_attempt, make_partner, make_task
from tests.support.staff import superuser
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

TASKS = "/admin/notifier/notificationtask/"
BULK = "/admin/notifier/bulkrequeue/"
ROLES = ("viewer", "operator", "administrator")


@pytest.fixture
def admin() -> Client:
    return superuser()


def _person(role: str) -> Client:
    for migration, make in (("0004_access", "make_roles"), ("0009_operations", "let_roles_see")):
        getattr(import_module(f"notifier.migrations.{migration}"), make)(apps, None)
    user = User.objects.create(username=role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def _listed(client: Client, query: str) -> list[uuid.UUID]:
    answer = client.get(f"{TASKS}{query}")
    assert answer.status_code == 200, answer.headers.get("Location")
    return [task.task_id for task in answer.context["cl"].result_list]


def _said(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


# --- Filters and search ---


def test_the_list_narrows_by_time_error_status_and_label(admin: Client) -> None:
    now = clock.read()
    old = make_task(created_at=now - timedelta(days=3), status=Status.FAILED, last_error_code="http_503")
    new = make_task(status=Status.DEAD, last_error_code="connect_timeout", metadata={"order": "17"})
    day = (now - timedelta(days=1)).strftime("%Y-%m-%d")

    assert _listed(admin, f"?after={day}") == [new.task_id]
    assert _listed(admin, f"?before={day}") == [old.task_id]
    assert _listed(admin, "?http=503") == [old.task_id]
    assert _listed(admin, "?error=connect_timeout") == [new.task_id]
    assert _listed(admin, "?label=order=17") == [new.task_id]
    assert _listed(admin, "?label=order=18") == []
    assert _listed(admin, f"?after={day}&http=503") == []


@pytest.mark.parametrize("query", ["after=yesterday", "before=2026-13-01", "http=abc", "http=99", "label=order"])
def test_a_filter_that_cannot_be_read_shows_nothing_and_says_why(admin: Client, query: str) -> None:
    make_task()

    answer = admin.get(f"{TASKS}?{query}")

    assert list(answer.context["cl"].result_list) == []
    assert "write" in _said(answer)[0]


def test_search_finds_the_beginning_of_an_address(admin: Client) -> None:
    ours = make_task(target_url="https://hooks.example.com/orders/17?a_b=100%25")
    make_task(target_url="https://hooks.example.com/invoices/1")

    assert _listed(admin, "?q=https://hooks.example.com/orders") == [ours.task_id]
    assert _listed(admin, "?q=https://hooks.example.com/orders/17%3Fa_b") == [ours.task_id]
    assert _listed(admin, "?q=https://hooks.example.com/orders/17%3FaXb") == []  # _ is no wildcard
    assert len(_listed(admin, "?q=https://hooks.example.com/")) == 2


def test_a_frequent_beginning_of_an_address_is_walked_newest_first(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifier.selectors.MOST_SENT_TO", 2)
    now = clock.read()
    made = [make_task(created_at=now - timedelta(minutes=age)).task_id for age in range(4)]

    assert _listed(admin, f"?q=https://{HOST}/") == made


@pytest.mark.skipif(not is_mysql(), reason="SQLite has no time bound")
def test_filters_that_take_too_long_together_end_with_a_sentence(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task(status=Status.FAILED)
    monkeypatch.setattr(tasks, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(NewestFirst, "get_queryset", _slowly(NewestFirst.get_queryset))

    answer = admin.get(f"{TASKS}?status__exact=failed&http=503")

    assert list(answer.context["cl"].result_list) == []
    assert "longer than 0.2 s" in _said(answer)[0]
    with connection.cursor() as cursor:  # the bound is gone with the read
        cursor.execute("SELECT SLEEP(0.3)")
        assert cursor.fetchone() == (0,)


def _slowly(get_queryset: Any) -> Any:
    def slow(self: Any, *args: Any, **kwargs: Any) -> Any:
        return get_queryset(self, *args, **kwargs).extra(where=["SLEEP(5) = 0"])

    return slow


def test_a_page_with_every_filter_costs_the_same_for_any_number_of_rows(admin: Client) -> None:
    query = "?status__exact=dead&error=http_503&label=a=b&after=2026-01-01&q=https://hooks"
    costs = []
    for count in (1, 30):
        for _ in range(count):
            make_task(status=Status.DEAD, last_error_code="http_503", metadata={"a": "b"})
        with CaptureQueriesContext(connection) as queries:
            _listed(admin, query)
        costs.append(len(queries))

    assert costs[0] == costs[1] <= 9


@pytest.mark.skipif(not is_mysql(), reason="the plan is MariaDB's")
@pytest.mark.parametrize(
    ("where", "index"),
    [
        case("last_error_code = 'http_503'", "task_list_error", id="error"),
        case("target_url LIKE 'https://a%%'", "task_url", id="address"),
    ],
)
def test_each_filter_is_a_range_of_its_index(where: str, index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN SELECT id FROM notifier_notificationtask WHERE {where} LIMIT 100")
        plan = " ".join(str(cell) for row in cursor.fetchall() for cell in row)
    assert index in plan


# --- A task's page ---


def test_the_timeline_splits_an_attempt_s_time(admin: Client) -> None:
    task = make_task(status=Status.FAILED)
    make_attempt(task, 1, latency_ms=100.0, dns_ms=10.0, connect_ms=20.0, tls_ms=30.0, ttfb_ms=35.0)

    page = admin.get(f"{TASKS}{task.pk}/change/").content.decode()

    assert "DNS 10.0, connect 20.0, TLS 30.0, wait 35.0, rest 5.0" in page
    widths = [float(width) for width in re.findall(r'<rect class="ntf-\w+" x="[\d.]+" y="0" width="([\d.]+)"', page)]
    assert widths == [24.0, 48.0, 72.0, 84.0, 12.0]


def test_the_curl_command_has_no_secret_and_is_quoted(admin: Client) -> None:
    partner = make_partner(headers={"X-Api-Key": "TOP-SECRET"})
    headers = sealing.seal_headers({"Authorization": "Bearer TOP-SECRET", "X-Note": "it's; rm -rf /"})
    task = make_task(partner, headers=headers, body=b"'$(x)", content_type="text/plain")

    shown = curl.command(task)

    assert "TOP-SECRET" not in shown
    assert "-H 'Authorization: ***'" in shown
    assert "-H 'X-Note: it'\"'\"'s; rm -rf /'" in shown
    assert "--data-raw ''\"'\"'$(x)'" in shown
    assert shown.endswith(task.target_url)
    assert "Copy" in admin.get(f"{TASKS}{task.pk}/change/").content.decode()


@pytest.mark.parametrize(
    ("body", "sealed", "data"),
    [
        case(b"@/etc/passwd", False, "--data-raw @/etc/passwd", id="no-file"),
        case(b"x\x03\nid\n", False, "--data-binary @body", id="no-control-character-for-the-terminal"),
        case(b"x\x1b[201~\n", False, "--data-binary @body", id="no-escape"),
        case("x\u009b1m".encode(), False, "--data-binary @body", id="no-c1-escape"),
        case(b"gAAAA", True, "--data-binary @body", id="no-token-of-a-sealed-body"),
    ],
)
def test_the_curl_command_does_nothing_but_what_it_says(body: bytes, sealed: bool, data: str) -> None:
    shown = curl.command(make_task(body=body, body_sealed=sealed, target_url=f"https://{HOST}/a[1-9]"))

    assert data in shown
    assert "curl -i -g " in shown
    assert [character for character in shown if character < " " and character != "\n"] == []
    assert "gAAAA" not in shown


def test_buttons_do_what_the_actions_do(admin: Client, woken: list[list[str]]) -> None:
    dead, pending = make_task(status=Status.DEAD), make_task()

    answers = [admin.post(f"{TASKS}{dead.pk}/operate/requeue/"), admin.post(f"{TASKS}{pending.pk}/operate/cancel/")]
    again = admin.post(f"{TASKS}{pending.pk}/operate/cancel/")

    assert [_said(answer)[-1:] for answer in answers] == [["1 task was requeued."], ["1 task was cancelled."]]
    assert _said(again)[-1:] == ["1 task was not cancelled: only those that are pending, failed or running can be."]
    assert list(NotificationTask.objects.order_by("pk").values_list("status", flat=True)) == ["pending", "dead"]
    assert admin.get(f"{TASKS}{dead.pk}/operate/requeue/").status_code == 405
    assert admin.post(f"{TASKS}{dead.pk}/operate/explode/").status_code == 404


# --- Partners ---


def test_a_partner_s_health_is_seen_at_a_glance(admin: Client) -> None:
    partner = make_partner()
    due = clock.read() - timedelta(hours=3)
    task = make_task(partner, next_attempt_at=due)
    at = clock.read() - timedelta(minutes=5)
    for number in range(1, 5):
        status = AttemptStatus.FAILED if number == 1 else AttemptStatus.SUCCEEDED
        make_attempt(task, number, created_at=at, status=status, latency_ms=15.0)
    rollup.roll()

    page = admin.get("/admin/notifier/partner/").content.decode()

    for shown in ("waiting 1", "due 1", "3 h", "75.0%", "20 ms"):
        assert shown in page


def test_the_policy_in_the_form_is_previewed_and_not_saved(admin: Client) -> None:
    partner = make_partner()
    form = admin.get(f"/admin/notifier/partner/{partner.pk}/change/").context["adminform"].form
    given = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}
    address = f"/admin/notifier/partner/{partner.pk}/preview/"

    fine = admin.post(address, given | {"retry_schedule": "5, 90", "max_attempts": "4"}).content.decode()
    bad = admin.post(address, given | {"retry_factor": "0"}).content.decode()

    assert re.findall(r"<td>(.*?)</td>", fine) == [
        "1",
        "at once",
        "2",
        "after 5 s",
        "3",
        "after 0:01:35",
        "4",
        "after 0:03:05",
    ]
    assert "It cannot be used as it stands." in bad
    assert "between 1 and 100" in bad
    assert Partner.objects.get().max_attempts == partner.max_attempts
    assert AuditEntry.objects.count() == 0


def test_a_connection_is_tried_without_sending(admin: Client) -> None:
    partner = make_partner(allow_hosts=["127.0.0.1:*"])

    answer = admin.post(f"/admin/notifier/partner/{partner.pk}/test/", {"url": "http://127.0.0.1:9/"})

    page = answer.content.decode()
    assert "may not be connected to" in page
    assert "A delivery would fail here." in page


# --- The dashboard ---


@pytest.mark.parametrize("window", ["1h", "24h", "7d", "x"])
def test_the_dashboard_shows_what_waits_and_what_failed(admin: Client, window: str) -> None:
    task = make_task(make_partner(partner_id="acme"), status=Status.DEAD)
    for status, attempts, count in (("pending", 0, 2), ("running", 1, 3), ("running", 2, 4), ("failed", 2, 5)):
        for _ in range(count):
            make_task(status=Status(status), attempt_count=attempts)
    at = clock.read() - timedelta(minutes=5)
    make_attempt(task, 1, created_at=at, error_code="http_503", latency_ms=15.0)
    make_attempt(task, 2, created_at=at, status=AttemptStatus.SUCCEEDED, error_code=None, latency_ms=15.0)
    rollup.roll()

    answer = admin.get(f"/admin/?window={window}")

    assert dict(answer.context["figures"])["succeeded"] == "50.0%"
    assert dict(answer.context["figures"])["latency p50 / p95"] == "15 ms / 20 ms"
    assert [(status, count) for status, count, _ in answer.context["backlog"]] == [
        ("pending", "2"),
        ("running", "7"),
        ("failed", "5"),
        ("dead", "1"),
    ]
    assert [(name, bad, share) for name, bad, share, _ in answer.context["partners"]] == [("acme", "1", "50.0%")]
    assert [(code, bad) for code, bad, _ in answer.context["errors"]] == [("http_503", "1")]
    assert not answer.context["late"]


def test_the_dashboard_says_when_nobody_counts(admin: Client) -> None:
    assert "nobody has counted" in admin.get("/admin/").content.decode()


def test_the_dashboard_costs_the_same_for_any_number_of_attempts(admin: Client) -> None:
    costs = []
    for number in range(3):
        make_attempt(make_task(), 1, created_at=clock.read() - timedelta(minutes=5 + number))
        rollup.roll()
        with CaptureQueriesContext(connection) as queries:
            admin.get("/admin/")
        costs.append(len(queries))

    assert costs[0] == costs[2] <= 12


# --- Roles ---


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("address", "data", "least"),
    [
        case("notificationtask/{task}/operate/requeue/", {}, "operator", id="requeue-button"),
        case("notificationtask/{task}/operate/cancel/", {}, "operator", id="cancel-button"),
        case(
            "notificationtask/{task}/replace/",
            {"target_url": f"https://{HOST}/v2", "headers": ""},
            "operator",
            id="replace",
        ),
        case("bulkrequeue/start/", {"error": "http_503", "per_second": "1", "begin": ""}, "operator", id="bulk-begin"),
        case("bulkrequeue/{job}/stop/", {}, "operator", id="bulk-stop"),
        case("bulkrequeue/{job}/delete/", {"post": "yes"}, None, id="bulk-delete"),
        case("bulkrequeue/add/", {}, None, id="bulk-add"),
        case("partner/{partner}/test/", {"url": "ftp://x"}, "operator", id="test"),
        case("partner/{partner}/preview/", {}, "administrator", id="preview"),
    ],
)
def test_each_new_act_is_for_its_role(
    role: str, address: str, data: dict[str, str], least: str | None, woken: list[list[str]]
) -> None:
    task, now = make_task(status=Status.FAILED), clock.read()
    job = BulkRequeue.objects.create(wanted={}, matched=0, created_at=now, updated_at=now, paced_until=now)
    before = (list(NotificationTask.objects.values()), list(BulkRequeue.objects.values()))
    allowed = least is not None and ROLES.index(role) >= ROLES.index(least)

    answer = _person(role).post(
        f"/admin/notifier/{address.format(task=task.pk, job=job.pk, partner=task.partner_id)}", data
    )

    assert answer.status_code in ((200, 302) if allowed else (403,))
    if not allowed:
        assert (list(NotificationTask.objects.values()), list(BulkRequeue.objects.values())) == before
        assert (AuditEntry.objects.count(), woken) == (0, [])


@pytest.mark.parametrize("role", ROLES)
def test_only_what_one_may_do_is_offered_on_the_new_pages(role: str) -> None:
    client, task = _person(role), make_task(status=Status.FAILED)
    operates, administers = role != "viewer", role == "administrator"

    page = client.get(f"{TASKS}{task.pk}/change/").content.decode()
    partner = client.get(f"/admin/notifier/partner/{task.partner_id}/change/").content.decode()
    board, listed = client.get("/admin/"), client.get(TASKS).content.decode()

    assert ["/operate/requeue/" in page, "/replace/" in page, "/test/" in partner, "bulkrequeue/start/" in listed] == [
        operates
    ] * 4
    assert ("/preview/" in partner, board.context["bulk_address"] is not None) == (administers, operates)
    assert client.get(BULK).status_code == 200
    assert ("bulkrequeue/start/" in client.get(BULK).content.decode()) == operates
    assert client.get(f"{BULK}start/").status_code == (200 if operates else 403)


def test_who_sees_no_tasks_sees_no_figures() -> None:
    client = Client()
    client.force_login(User.objects.create(username="clerk", is_staff=True))

    answer = client.get("/admin/")

    assert answer.status_code == 200
    assert "board" not in answer.context


@pytest.mark.skipif(not is_mysql(), reason="SQLite has no time bound")
def test_a_read_beyond_its_bound_is_ended() -> None:
    with pytest.raises(time_limit.TooSlow), time_limit.limited(0.1), connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM (SELECT SLEEP(3)) AS slow")
