"""GET /v1/partners and GET /v1/partners/{partner_id}: configuration without secrets, state, backlog."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from notifier import backlog, clock
from notifier.api.renderers import timestamp
from notifier.models import NotificationTask, Partner, PartnerState, Status
from notifier.models.task import DeadReason
from notifier.policy.circuit import State
from tests.support.api import Caller, anyone, caller, document, problem
from tests.support.factories import HOST, is_mysql, make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

DOCUMENT = [
    "partner_id", "configuration", "state", "backlog", "oldest_waiting_seconds", "created_at", "updated_at",
]  # fmt: skip
EMPTY = {"waiting": 0, "due": 0, "running": 0, "dead": 0, "lower_bounds": []}


def _shown(partner: Partner) -> dict[str, Any]:
    shown: dict[str, Any] = document(caller(scopes=("notify:read",)).get(f"/v1/partners/{partner.partner_id}"))
    assert list(shown) == DOCUMENT
    return shown


def _page(reader: Caller, query: str = "") -> dict[str, Any]:
    shown: dict[str, Any] = document(reader.get(f"/v1/partners?{query}" if query else "/v1/partners"))
    assert list(shown) == ["results", "next", "previous"]
    return shown


def _ids(page: dict[str, Any]) -> list[str]:
    return [entry["partner_id"] for entry in page["results"]]


def _set(partner: Partner, **fields: Any) -> None:
    assert PartnerState.objects.filter(pk=partner.pk).update(**fields) == 1


def test_a_partner_is_shown_by_the_keys_of_the_partners_file() -> None:
    partner = make_partner(
        partner_id="acme", name="Acme", allow_private_cidrs=["10.1.0.0/16"], headers={"X-Team": "blue"},
        auth={"type": "basic", "username": "us", "password": "acme_password"}, signing_secrets=["acme_signing"],
        retry_schedule=[1.0, 30.0], max_attempts=3, rate_per_second=0.5, burst=2, max_concurrency=4, circuit_failure_ratio=None,
    )  # fmt: skip

    shown = _shown(partner)

    assert shown == {
        "partner_id": "acme",
        "configuration": {
            "name": "Acme",
            "enabled": True,
            "allow_hosts": [HOST],
            "allow_private_cidrs": ["10.1.0.0/16"],
            "timeout_seconds": 5.0,
            "connect_timeout_seconds": 3.0,
            "retry": {
                "base_seconds": 30.0, "factor": 2.0, "max_seconds": 3600.0, "max_attempts": 3, "jitter": "full",
                "schedule": [1.0, 30.0],
            },
            "permanent_statuses": partner.permanent_statuses,
            "success_condition": "status >= 200 && status < 400",
            "max_age_hours": 72.0,
            "headers": {"X-Team": "blue"},
            "auth": {"type": "basic", "username": "us", "password": "acme_password"},
            "signing_secrets": ["acme_signing"],
            "client_certificate": None,
            "seal_bodies": False,
            "rate_per_second": 0.5,
            "burst": 2,
            "max_concurrency": 4,
            "circuit": {
                "failure_ratio": None, "min_attempts": 20, "window_seconds": 60.0, "pause_seconds": 2.0,
                "max_pause_seconds": 300.0,
            },
        },
        "state": {
            "paused": False,
            "paused_since": None,
            "hold": None,
            "circuit": {"state": "closed", "since": None, "reason": "", "next_probe_at": None},
        },
        "backlog": EMPTY,
        "oldest_waiting_seconds": None,
        "created_at": timestamp(partner.created_at),
        "updated_at": timestamp(partner.updated_at),
    }  # fmt: skip


def test_no_secret_is_shown(settings: Any) -> None:
    settings.NOTIFIER_SENSITIVE_HEADERS = ["x-token"]
    partner = make_partner(headers={"Authorization": "Bearer TOP-SECRET", "X-Token": "TOP-SECRET", "X-Team": "blue"})
    reader = caller()

    for address in (f"/v1/partners/{partner.partner_id}", "/v1/partners"):
        assert b"TOP-SECRET" not in reader.get(address).content
    assert _shown(partner)["configuration"]["headers"] == {"Authorization": "***", "X-Token": "***", "X-Team": "blue"}


def test_the_state_of_a_partner_that_everything_holds_back() -> None:
    partner, now = make_partner(), clock.read()
    later = now + timedelta(minutes=5)
    _set(
        partner, paused_at=now, hold_until=later, held_at=now, circuit_state=State.OPEN.value, circuit_since=now,
        circuit_reason="20 of the last 20 attempts failed", circuit_probe_at=later,
    )  # fmt: skip

    assert _shown(partner)["state"] == {
        "paused": True,
        "paused_since": timestamp(now),
        "hold": {"until": timestamp(later), "since": timestamp(now)},
        "circuit": {
            "state": "open", "since": timestamp(now), "reason": "20 of the last 20 attempts failed",
            "next_probe_at": timestamp(later),
        },
    }  # fmt: skip


def test_a_hold_that_is_over_is_none() -> None:
    partner, now = make_partner(), clock.read()
    _set(partner, hold_until=now, held_at=now - timedelta(minutes=1))

    assert _shown(partner)["state"]["hold"] is None


def test_the_backlog_counts_what_waits_runs_and_is_dead() -> None:
    partner, now = make_partner(), clock.read()
    for number in range(4):
        make_task(partner, rank=number * 3, next_attempt_at=now - timedelta(seconds=number))
    make_task(partner, status=Status.FAILED, next_attempt_at=now - timedelta(seconds=100))
    make_task(partner, status=Status.FAILED, next_attempt_at=now + timedelta(hours=1))
    make_task(partner, next_attempt_at=now + timedelta(hours=1))
    for _ in range(2):
        make_task(partner, status=Status.RUNNING)
    # Lost, and not yet swept: neither waits nor is finished.
    make_task(partner, status=Status.RUNNING, lease_expires_at=now - timedelta(seconds=1))
    for reason in DeadReason:
        make_task(partner, status=Status.DEAD, dead_reason=reason)
    make_task(partner, status=Status.SUCCEEDED)
    for status in Status:
        make_task(make_partner(), status=status)

    shown = _shown(partner)

    assert shown["backlog"] == {"waiting": 7, "due": 5, "running": 3, "dead": 5, "lower_bounds": []}
    assert 100 <= shown["oldest_waiting_seconds"] < 160


def test_nothing_due_has_no_age() -> None:
    partner = make_partner()
    make_task(partner, next_attempt_at=clock.read() + timedelta(hours=1))

    shown = _shown(partner)

    assert (shown["backlog"]["waiting"], shown["backlog"]["due"], shown["oldest_waiting_seconds"]) == (1, 0, None)


def test_a_count_that_reached_the_bound_is_said_to_be_a_lower_bound() -> None:
    partner, now = make_partner(), clock.read()
    for _ in range(3):
        make_task(partner)
        make_task(partner, status=Status.DEAD)
    for _ in range(2):
        make_task(partner, next_attempt_at=now + timedelta(hours=1))

    def counted(bound: int) -> tuple[int, int, int, tuple[str, ...]]:
        found = backlog.backlogs([partner.pk], now=clock.read(), bound=bound)[partner.pk]
        return found.waiting, found.due, found.dead, found.lower_bounds

    assert counted(2) == (2, 2, 2, ("waiting", "due", "dead"))
    assert counted(3) == (3, 3, 3, ("waiting", "due", "dead"))
    assert counted(4) == (4, 3, 3, ("waiting",))
    assert counted(6) == (5, 3, 3, ())


def test_the_list_bounds_its_counts_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    partner = make_partner()
    for _ in range(3):
        make_task(partner)
    monkeypatch.setattr("notifier.api.partner_views.LIST_BOUND", 2)

    (entry,) = _page(caller())["results"]

    assert entry["backlog"] == EMPTY | {"waiting": 2, "due": 2, "lower_bounds": ["waiting", "due"]}
    assert _shown(partner)["backlog"] == EMPTY | {"waiting": 3, "due": 3}
    assert (backlog.LIST_BOUND, backlog.PARTNER_BOUND) == (1_000, 100_000)


def test_an_entry_of_the_list_is_the_document() -> None:
    partner = make_partner()
    make_task(partner, status=Status.DEAD)

    assert _page(caller())["results"] == [_shown(partner)]


def test_partners_are_listed_by_their_ids_page_by_page_forth_and_back() -> None:
    for partner_id in ("b", "a.1", "A", "z-9", "_x"):
        make_partner(partner_id=partner_id)
    in_order = sorted(("b", "a.1", "A", "z-9", "_x"))
    reader = caller()

    pages = [_page(reader, "limit=2")]
    while pages[-1]["next"]:
        link = urlsplit(pages[-1]["next"])
        assert link.path == "/v1/partners"
        pages.append(_page(reader, link.query))

    assert [_ids(page) for page in pages] == [in_order[:2], in_order[2:4], in_order[4:]]
    assert pages[0]["previous"] is None
    assert _ids(_page(reader, urlsplit(pages[2]["previous"]).query)) == in_order[2:4]
    assert _ids(_page(reader, "limit=200")) == in_order


def test_a_partner_that_comes_meanwhile_moves_no_page() -> None:
    for partner_id in ("b", "d", "f"):
        make_partner(partner_id=partner_id)
    reader = caller()
    first = _page(reader, "limit=2")

    make_partner(partner_id="a")
    make_partner(partner_id="e")

    assert _ids(_page(reader, urlsplit(first["next"]).query)) == ["e", "f"]


def test_no_partners() -> None:
    assert _page(caller()) == {"results": [], "next": None, "previous": None}


def test_a_key_for_some_partners_sees_only_those() -> None:
    for partner_id in ("a", "b", "c"):
        make_partner(partner_id=partner_id)
    reader = caller(partners=("c", "a"))

    assert _ids(_page(reader)) == ["a", "c"]
    assert document(reader.get("/v1/partners/a"))["partner_id"] == "a"
    for partner_id in ("b", "nobody", "A"):
        problem(reader.get(f"/v1/partners/{partner_id}"), 403, "partner_not_permitted")


@pytest.mark.parametrize("partner_id", ["nobody", "ACME", "acme ", "x" * 1_000, "%00", "%F0%9F%98%80", "%FF", "."])
def test_a_partner_that_does_not_exist(partner_id: str) -> None:
    make_partner(partner_id="acme")

    problem(caller().get(f"/v1/partners/{partner_id}"), 404, "partner_not_found")


@pytest.mark.parametrize("path", ["/v1/partners", "/v1/partners/acme"])
def test_who_may_read(path: str) -> None:
    make_partner(partner_id="acme")

    problem(anyone().get(path), 401, "not_authenticated")
    problem(caller(scopes=("notify:write", "notify:operate")).get(path), 403, "missing_scope")
    document(caller(scopes=("notify:read",)).get(path))


@pytest.mark.parametrize("path", ["/v1/partners", "/v1/partners/acme"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_partners_are_not_written_here(method: str, path: str) -> None:
    partner = make_partner(partner_id="acme")

    problem(caller().send(method, path, {"name": "x"}), 405, "method_not_allowed")

    assert Partner.objects.get().updated_at == partner.updated_at


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "x", "", "٣", "9" * 5_000])
def test_another_limit_is_refused(limit: str) -> None:
    shown = problem(caller().get(f"/v1/partners?{urlencode({'limit': limit})}"), 400, "invalid_request")

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("limit", "out_of_range")]


@pytest.mark.parametrize("cursor", ["x", "%", "====", "ü", "\x00", "cj0x" * 1_000, "bz0tMQ==", "cD0lMDA=", "cD0lRjA="])
def test_a_cursor_made_by_hand_is_refused_or_harmless(cursor: str) -> None:
    make_partner()

    answer = caller().get(f"/v1/partners?{urlencode({'cursor': cursor})}")

    if answer.status_code != 200:
        shown = problem(answer, 400, "invalid_request")
        assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("cursor", "invalid")]


@pytest.mark.parametrize(
    ("query", "field", "code", "detail_code"),
    [
        case("partner_id=a", "partner_id", "unknown_field", "unknown_field", id="unknown"),
        case("offset=1", "offset", "unknown_field", "unknown_field", id="offset"),
        case("limit=1&limit=2", "limit", "invalid_request", "invalid", id="twice"),
    ],
)
def test_another_parameter_is_refused(query: str, field: str, code: str, detail_code: str) -> None:
    shown = problem(caller().get(f"/v1/partners?{query}"), 400, code)

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [(field, detail_code)]


def test_a_page_costs_the_same_however_many_partners_it_shows(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    reader = caller()
    for _ in range(3):
        for _ in range(2):
            partner = make_partner()
            make_task(partner)
            make_task(partner, status=Status.RUNNING)
        _page(reader)
        # Partners with their states, time; running; the longest due; waiting, due and dead.
        with django_assert_num_queries(5):
            _page(reader)


def test_a_page_of_200_partners(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    partners = [make_partner(partner_id=f"p{number:03}") for number in range(201)]
    make_task(partners[199])
    make_task(partners[200])
    reader = caller()
    _page(reader)

    with django_assert_num_queries(5):
        page = _page(reader, "limit=200")

    assert [entry["backlog"]["waiting"] for entry in page["results"]] == [0] * 199 + [1]


def test_one_partner_costs_six_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    partner, reader = make_partner(), caller()
    document(reader.get(f"/v1/partners/{partner.partner_id}"))

    with django_assert_num_queries(5):
        document(reader.get(f"/v1/partners/{partner.partner_id}"))


def _explained(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", parameters)
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
def test_every_count_is_read_from_its_index_alone() -> None:
    """So it costs as much as it counts, and no more than the bound, whatever else the table holds."""
    if not is_mysql():
        pytest.skip("EXPLAIN of MySQL")
    partner, other = make_partner(), make_partner()
    for number in range(60):
        for each in (partner, other):
            make_task(each, rank=number % 10)
            make_task(each, status=Status.SUCCEEDED)
            make_task(each, status=Status.DEAD)
        make_task(other, status=Status.RUNNING)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()

    keys, now = [partner.pk, other.pk], clock.read()
    counts = _explained(*backlog.counting(keys, now=now, bound=1_000))
    with CaptureQueriesContext(connection) as queries:
        backlog.backlogs(keys, now=now, bound=1_000)
    running, oldest = (_explained(query["sql"])[0] for query in list(queries)[:2])

    tasks = [row for row in counts if row["table"] == "notifier_notificationtask"]
    assert sorted(row["key"] for row in tasks) == ["task_claim"] * 4 + ["task_partner_status"] * 2
    for row in [*tasks, running]:
        # "ref": all key columns but those of the order are given.
        assert row["type"] == ("ref" if row["key"] == "task_partner_status" else "range")
        assert "Using index" in row["Extra"]
        assert "filesort" not in row["Extra"]
    assert running["key"] == "task_lease"
    assert (oldest["key"], "Using index for group-by" in oldest["Extra"]) == ("task_claim", True)


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
def test_a_backlog_costs_no_more_than_its_bound() -> None:
    """Rows that the storage engine hands over, not an estimate: no more with six times as many tasks."""
    if not is_mysql():
        pytest.skip("counters of MySQL")
    partner, now = make_partner(), clock.read() + timedelta(hours=1)

    def rows_read() -> int:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE notifier_notificationtask")
            cursor.fetchall()
            cursor.execute("FLUSH STATUS")
            backlog.backlogs([partner.pk], now=now, bound=20)
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            return sum(int(count) for name, count in cursor.fetchall() if name != "Handler_read_rnd_next")

    def more(count: int) -> None:
        for number in range(count):
            make_task(partner, rank=number % 10)
            make_task(partner, status=Status.SUCCEEDED)
            make_task(partner, status=Status.DEAD)

    more(50)
    first = rows_read()
    more(250)

    assert NotificationTask.objects.count() == 900
    # A little less: with more tasks of each priority, fewer priorities are visited.
    assert rows_read() <= first


def test_the_age_is_of_the_longest_due_of_all_priorities() -> None:
    partner, now = make_partner(), clock.read()
    for rank, age in ((0, 5), (9, 3600), (4, 60)):
        make_task(partner, rank=rank, next_attempt_at=now - timedelta(seconds=age))

    age = _shown(partner)["oldest_waiting_seconds"]

    assert timedelta(seconds=3600) <= timedelta(seconds=age) <= clock.read() - now + timedelta(seconds=3601)
