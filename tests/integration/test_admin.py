"""The admin's tasks: listed, searched and read; never edited, and never a secret shown."""

from __future__ import annotations

import html
import re
import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from notifier import clock, sealing
from notifier.admin import change_list
from notifier.admin.tasks import TaskAdmin
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Partner, Status
from notifier.models.task import BodyFormat, DeadReason
from tests.support.factories import is_mysql, make_api_key, make_attempt, make_partner, make_task
from tests.support.staff import staff, superuser

pytestmark = pytest.mark.django_db

TASKS = "/admin/notifier/notificationtask/"
HOSTILE = "<script>alert(1)</script>\"'&lt; \U0001f600\u202e"


@pytest.fixture
def admin() -> Client:
    return superuser()


def _page(task: NotificationTask) -> str:
    return f"{TASKS}{task.pk}/change/"


def _text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def _listed(client: Client, query: str = "") -> list[uuid.UUID]:
    answer = client.get(f"{TASKS}{query}")
    assert answer.status_code == 200, answer.headers.get("Location")
    return [task.task_id for task in answer.context["cl"].result_list]


def _rows() -> list[dict[str, Any]]:
    return [dict(row) for row in NotificationTask.objects.order_by("pk").values()]


def test_the_list_shows_what_a_task_is_about(admin: Client) -> None:
    now = clock.read()
    partner = make_partner(partner_id="acme")
    make_task(
        partner,
        status=Status.FAILED,
        target_url="https://hooks.example.com/in?" + "q" * 2000,
        attempt_count=5,
        attempts_before_requeue=3,
        next_attempt_at=now.replace(microsecond=0) + timedelta(hours=1),
        last_error_code="connect_timeout",
        last_error_message="No connection within 3 s.",
    )

    page = _text(admin, TASKS)

    due = (now + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
    for shown in ("acme", "POST", "failed", "2 of 10, 5 in all", due, "connect_timeout", "No connection within 3 s."):
        assert shown in page
    assert f"{('https://hooks.example.com/in?' + 'q' * 2000)[:80]}</span>…" in page


def test_the_newest_task_is_first_and_no_column_sorts(admin: Client) -> None:
    now = clock.read()
    tasks = [make_task(created_at=now - timedelta(minutes=age)) for age in (3, 1, 2)]

    newest_first = [tasks[1].task_id, tasks[2].task_id, tasks[0].task_id]

    assert _listed(admin) == newest_first
    assert _listed(admin, "?o=1") == newest_first
    assert _listed(admin, "?o=-4.2") == newest_first


def test_the_list_narrows_by_status_reason_and_partner(admin: Client) -> None:
    pending = make_task(make_partner(partner_id="acme"))
    dead = make_task(make_partner(partner_id="globex"), status=Status.DEAD, dead_reason=DeadReason.REJECTED)

    assert _listed(admin, "?status__exact=pending") == [pending.task_id]
    assert _listed(admin, "?dead_reason__exact=rejected") == [dead.task_id]
    assert _listed(admin, "?partner=globex") == [dead.task_id]
    assert _listed(admin, "?partner=nobody") == []
    assert _listed(admin, "?partner=acme&status__exact=dead") == []


def test_the_partner_filter_is_bounded_and_keeps_the_chosen_one(admin: Client) -> None:
    for number in range(30):
        make_partner(partner_id=f"p{number:02}")

    page = _text(admin, f"{TASKS}?partner=p29")

    assert [f"?partner=p{number:02}" in page for number in (0, 23, 24, 25, 29)] == [True, True, True, False, True]
    assert "the first 25" in page


@pytest.mark.parametrize(
    "lookup",
    ["target_url__contains=a", "headers__icontains=a", "body__isnull=0", "created_by__hash__startswith=a", "id__gt=0"],
)
def test_no_other_lookup_is_let_through(admin: Client, lookup: str) -> None:
    make_task()

    assert admin.get(f"{TASKS}?{lookup}").status_code == 400


def test_search_finds_a_whole_task_id_however_it_is_written(admin: Client) -> None:
    task, _ = make_task(), make_task()

    assert _listed(admin, f"?q={task.task_id}") == [task.task_id]
    assert _listed(admin, f"?q=%20{task.task_id.hex.upper()}%20") == [task.task_id]
    assert _listed(admin, f"?q={str(task.task_id)[:-1]}") == []


def test_search_finds_a_whole_idempotency_key_of_any_partner(admin: Client) -> None:
    key = str(uuid.uuid4())
    tasks = [make_task(idempotency_key=key), make_task(idempotency_key=key), make_task(idempotency_key="Order-1")]

    assert sorted(_listed(admin, f"?q={key}")) == sorted(task.task_id for task in tasks[:2])
    assert _listed(admin, "?q=Order-1") == [tasks[2].task_id]
    assert _listed(admin, "?q=order-1") == []
    assert _listed(admin, "?q=Order") == []
    assert _listed(admin, "?q=%25") == []


@pytest.mark.parametrize("term", ["%00", "%F0%9F%98%80" * 200, "x" * 5000, "%27%22%3C", "%FF"])
def test_search_for_nonsense_finds_nothing(admin: Client, term: str) -> None:
    make_task(idempotency_key="Order-1")

    assert admin.get(f"{TASKS}?q={term}").status_code == 200


@pytest.mark.parametrize(
    "query", ["", "?status__exact=pending", "?dead_reason__exact=exhausted", "?partner=p1", "?p=2"]
)
def test_a_page_walks_an_index_in_its_order(admin: Client, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A page that is small beside the table, as it is in life: else a database may rather read all of it.
    monkeypatch.setattr(TaskAdmin, "list_per_page", 5)
    _fill()

    keys, rows = _plans(admin, query)

    # No sort but that of the page's own rows, which are read by their primary key.
    assert re.search(r"filesort|TEMP B-TREE|SCAN notifier_notificationtask(?! USING)", keys) is None, keys
    assert re.search(r"SEARCH notifier_notificationtask USING INTEGER PRIMARY KEY|range.* PRIMARY", rows), rows


def test_search_probes_the_index_of_idempotency_keys(admin: Client) -> None:
    _fill()

    (probe, *_) = _plans(admin, "?q=k7")

    assert re.search(r"range.* task_idempotency|\(partner_id=\? AND idempotency_key=\?\)", probe), probe


def _fill() -> None:
    partners = [make_partner(partner_id=f"p{number}") for number in range(3)]
    for number in range(300):
        status = Status.DEAD if number % 2 else Status.PENDING
        created = clock.now() - timedelta(seconds=number)
        make_task(partners[number % 3], status=status, idempotency_key=f"k{number}", created_at=created)


def _plans(client: Client, query: str) -> list[str]:
    """How the database goes about each query for tasks of a list page: one text a query."""
    with CaptureQueriesContext(connection) as queries:
        _listed(client, query)
    asked = [captured["sql"] for captured in queries if re.search(r"FROM .notifier_notificationtask", captured["sql"])]
    plans = []
    with connection.cursor() as cursor:
        for sql in asked:
            cursor.execute(f"{'EXPLAIN' if is_mysql() else 'EXPLAIN QUERY PLAN'} {sql}")
            plans.append("\n".join(" ".join(str(cell) for cell in row) for row in cursor.fetchall()))
    return plans


def test_a_page_costs_six_queries_however_many_rows_it_shows(admin: Client) -> None:
    make_task()
    costs = [_cost(admin)]
    for number in range(120):
        make_task(created_at=clock.now() - timedelta(seconds=number))
    costs.append(_cost(admin))

    # Session, user, the filter's partners, keys, rows, their partners.
    assert costs == [6, 6]


def _cost(client: Client) -> int:
    clock.read()  # else it may be time to ask for it again within the page
    with CaptureQueriesContext(connection) as queries:
        _listed(client)
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]
    return len(queries)


def test_a_list_does_not_read_bodies(admin: Client) -> None:
    make_task(body=b"x" * 1000)

    with CaptureQueriesContext(connection) as queries:
        _listed(admin)

    large = re.compile(r"notifier_notificationtask[`\"]\.[`\"](body|headers|metadata)[`\"]")
    assert [query["sql"] for query in queries if large.search(query["sql"])] == []


def test_pages_follow_each_other_without_a_count(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskAdmin, "list_per_page", 2)
    now = clock.read()
    tasks = [make_task(created_at=now - timedelta(seconds=age)).task_id for age in range(5)]

    pages = [_listed(admin, f"?p={number}") for number in (1, 2, 3)]

    assert pages == [tasks[:2], tasks[2:4], tasks[4:]]
    assert "older ones on the next" in _text(admin, f"{TASKS}?p=2")
    assert "1 on this page" in _text(admin, f"{TASKS}?p=3")
    assert "older ones" not in _text(admin, f"{TASKS}?p=3")


@pytest.mark.parametrize("page", ["0", "-1", "3", "101", "99999999999999999999"])
def test_a_page_that_is_not_there_leads_to_the_first(admin: Client, page: str) -> None:
    make_task()

    answer = admin.get(f"{TASKS}?p={page}")

    assert (answer.status_code, answer.headers["Location"]) == (302, f"{TASKS}?e=1")


def test_deep_pages_are_not_offered(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskAdmin, "list_per_page", 1)
    monkeypatch.setattr(change_list, "MAX_PAGE", 2)
    for age in range(3):
        make_task(created_at=clock.now() - timedelta(seconds=age))

    page = _text(admin, f"{TASKS}?p=2")

    assert "?p=3" not in page
    assert admin.get(f"{TASKS}?p=3").status_code == 302


def test_a_task_s_page_shows_the_request_and_its_attempts(admin: Client) -> None:
    key, _ = make_api_key()
    body = b'{"price":1.10,"name":"\xc3\xa4"}'
    task = make_task(
        status=Status.DEAD,
        body=body,
        body_format=BodyFormat.JSON,
        content_type="application/json",
        metadata={"order": "17"},
        idempotency_key="Order-17",
        created_by=key,
    )
    make_attempt(
        task, 1, response_headers=[["Server", "nginx"]], response_body="oops", remote_ip="192.0.2.1", tls_ms=7.25
    )
    make_attempt(task, 2, status=AttemptStatus.LEASE_EXPIRED, http_status_code=None, latency_ms=None)

    page = _text(admin, _page(task))

    for shown in (
        str(task.task_id), "dead: exhausted", task.target_url, escape('"price": 1.10'), f"{len(body)} bytes of JSON", "ä",
        "order: 17", "Order-17", key.name, "failed: HTTP 503", "The partner answered 503.", "12.5", "TLS 7.2",
        "192.0.2.1", "Server: nginx", "oops", "lease_expired",
    ):  # fmt: skip
        assert shown in page
    assert page.index("lease_expired") < page.index("failed: HTTP 503")


def test_a_task_s_page_has_no_button_that_saves(admin: Client) -> None:
    task = make_task()
    make_attempt(task)

    page = _text(admin, _page(task))

    assert [name for name in ("_save", "_continue", "_addanother", "deletelink") if name in page] == []


@pytest.mark.parametrize(
    ("body", "body_format", "shown"),
    [
        (None, None, "none"),
        (b"", BodyFormat.TEXT, "0 bytes of text"),
        (b"\x00\xff\x10", BodyFormat.BASE64, "3 bytes of binary, in hexadecimal"),
        (b"a\x00b", BodyFormat.TEXT, "3 bytes of binary, in hexadecimal"),
        (b"[1e400,01]", BodyFormat.JSON, "[1e400,01]"),
        (b"[" * 50_000, BodyFormat.JSON, "50,000 bytes of text; only the beginning is shown"),
        (b'"' + b"x" * 20_000 + b'"', BodyFormat.JSON, "20,002 bytes of JSON, indented here, sent compact; only the"),
        ("€".encode() * 20_000, BodyFormat.TEXT, "60,000 bytes of text; only the beginning is shown"),
        (b"\xff" * 200_000, BodyFormat.BASE64, "200,000 bytes of binary, in hexadecimal; only the beginning is shown"),
    ],
)
def test_any_body_is_shown_decoded_and_bounded(
    admin: Client, body: bytes | None, body_format: BodyFormat | None, shown: str
) -> None:
    task = make_task(body=body, body_format=body_format)

    page = _text(admin, _page(task))

    assert shown in page
    blocks = re.findall(r'<pre class="ntf-block">(.*?)</pre>', page, re.S)
    assert max((len(html.unescape(block)) for block in blocks), default=0) <= 8_000


def test_sealed_and_sensitive_header_values_are_never_shown(admin: Client) -> None:
    sealed = sealing.seal_headers({"Authorization": "Bearer TOP-SECRET", "X-Team": "blue"})
    # A row from before its header was sensitive holds the value in plain.
    task = make_task(headers={**sealed, "Cookie": "session=TOP-SECRET"})
    token = sealed["Authorization"]["sealed"]  # type: ignore[index]  # a sealed value is a mapping

    page = _text(admin, _page(task)) + _text(admin, TASKS)

    assert "TOP-SECRET" not in page
    assert token[:20] not in page
    assert "Authorization: ***" in page
    assert "Cookie: ***" in page
    assert "X-Team: blue" in page


def test_hostile_text_is_escaped_everywhere(admin: Client) -> None:
    key, _ = make_api_key()
    key.name = HOSTILE
    key.save()
    task = make_task(
        make_partner(name=HOSTILE),
        status=Status.FAILED,
        idempotency_key=HOSTILE,
        metadata={HOSTILE: HOSTILE},
        headers={"X-A": HOSTILE},
        body=HOSTILE.encode(),
        body_format=BodyFormat.TEXT,
        last_error_code="http_500",
        last_error_message=HOSTILE,
        created_by=key,
    )
    make_attempt(task, error_message=HOSTILE, response_headers=[["X-B", HOSTILE]], response_body=HOSTILE)

    pages = [
        _text(admin, address)
        for address in (TASKS, _page(task), f"{TASKS}?q={quote(HOSTILE)}&partner={quote(HOSTILE)}")
    ]

    assert ["<script>alert(" in page for page in pages] == [False, False, False]
    assert pages[1].count(escape(HOSTILE)) >= 9


def test_only_the_latest_attempts_are_shown(admin: Client) -> None:
    task = make_task(status=Status.DEAD)
    for number in range(1, 61):
        make_attempt(task, number, error_message=f"attempt number {number}!")

    page = _text(admin, _page(task))

    assert [f"attempt number {number}!" in page for number in (60, 11, 10, 1)] == [True, True, False, False]


def test_a_task_s_page_costs_the_same_for_any_number_of_attempts(admin: Client) -> None:
    task = make_task(status=Status.DEAD)
    costs = []
    for number in range(1, 4):
        make_attempt(task, number)
        with CaptureQueriesContext(connection) as queries:
            _text(admin, _page(task))
        costs.append(len(queries))

    # Session, user, task, partner, attempts, its replacements; and for the explanation the time and the partner's state.
    assert costs == [8, 8, 8]


def test_without_a_permission_there_is_nothing_to_see() -> None:
    client = staff()
    task = make_task()

    assert [client.get(address).status_code for address in (TASKS, _page(task))] == [403, 403]


def test_nobody_adds_changes_or_deletes_a_task_by_form(admin: Client) -> None:
    task = make_task()
    make_attempt(task)
    before = (_rows(), list(NotificationAttempt.objects.values()))

    codes = [
        admin.get(f"{TASKS}add/").status_code,
        admin.post(f"{TASKS}add/", {"status": "dead"}).status_code,
        admin.post(_page(task), {"status": "succeeded", "_save": "Save"}).status_code,
        admin.post(f"{TASKS}{task.pk}/delete/", {"post": "yes"}).status_code,
        admin.post(
            TASKS, {"action": "delete_selected", "_selected_action": [str(task.pk)], "index": "0", "post": "yes"}
        ).status_code,
    ]

    assert codes == [403, 403, 403, 403, 302]
    assert (_rows(), list(NotificationAttempt.objects.values())) == before


@pytest.mark.parametrize("key", ["0", "99999999999999999999", "x", "018f0000-0000-7000-8000-000000000000", "1%00"])
def test_a_task_that_is_not_there_leads_home(admin: Client, key: str) -> None:
    answer = admin.get(f"{TASKS}{key}/change/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


@pytest.mark.parametrize("model", ["notificationattempt", "partnerstate", "notificationlabel", "sweepstate"])
def test_what_is_not_for_people_is_not_registered(admin: Client, model: str) -> None:
    assert admin.get(f"/admin/notifier/{model}/").status_code == 404


def test_the_front_page_names_what_there_is(admin: Client) -> None:
    page = _text(admin, "/admin/")

    assert [name in page for name in ("Notification tasks", "Partners", "API keys", "Users", "Groups")] == [True] * 5
    assert Partner.objects.count() == 0
