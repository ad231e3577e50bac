"""GET /v1/notify: filters, newest first, by cursor in both directions."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from pytest_django import DjangoAssertNumQueries

from notifier.models import NotificationTask, Partner, Status
from tests.support.api import Caller, caller, document, problem
from tests.support.factories import make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SUMMARY = [
    "task_id", "partner_id", "target_url", "method", "idempotency_key", "priority", "metadata", "status", "dead_reason",
    "attempt_count", "max_attempts", "next_attempt_at", "created_at", "updated_at", "finished_at", "last_attempt",
]  # fmt: skip


def _tasks(count: int, partner: Partner | None = None, **fields: Any) -> list[NotificationTask]:
    """Oldest first, a second apart."""
    partner = partner or make_partner()
    return [make_task(partner, created_at=AT + timedelta(seconds=number), **fields) for number in range(count)]


def _page(reader: Caller, query: str) -> dict[str, Any]:
    shown: dict[str, Any] = document(reader.get(f"/v1/notify?{query}" if query else "/v1/notify"))
    assert list(shown) == ["results", "next", "previous"]
    return shown


def _ids(page: dict[str, Any]) -> list[str]:
    return [entry["task_id"] for entry in page["results"]]


def _listed(query: dict[str, Any] | None = None) -> list[str]:
    """What one page of 200 holds, which must be all."""
    page = _page(caller(), urlencode((query or {}) | {"limit": 200}))
    assert page["next"] is page["previous"] is None
    return _ids(page)


def _query(link: str) -> str:
    parts = urlsplit(link)
    assert parts.path == "/v1/notify"
    return parts.query


def _spelled(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_an_empty_list() -> None:
    assert _page(caller(), "") == {"results": [], "next": None, "previous": None}


def test_newest_first_each_with_everything_but_what_can_be_large() -> None:
    tasks = _tasks(
        3, headers={"X-A": "b"}, body=b"x", body_format="body_text", metadata={"a": "b"}, idempotency_key=None
    )

    page = _page(caller(), "")

    assert _ids(page) == [str(task.task_id) for task in reversed(tasks)]
    assert [list(entry) for entry in page["results"]] == [SUMMARY] * 3
    assert page["results"][0]["metadata"] == {"a": "b"}
    assert page["results"][0]["created_at"] == "2026-03-01T12:00:02.123456Z"


def test_a_page_costs_two_queries_whatever_it_holds(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _tasks(5)
    _tasks(5)
    reader = caller()
    _page(reader, "")

    # The key, the rows, and their partners.
    with django_assert_num_queries(2):
        assert len(_page(reader, "limit=10")["results"]) == 10


def test_a_list_does_not_read_bodies_headers_and_fingerprints(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    _tasks(1, body=b"x")
    reader = caller()
    _page(reader, "")

    with django_assert_num_queries(2) as queries:
        _page(reader, "")

    read = queries.captured_queries[-2]["sql"]
    assert "notifier_notificationtask" in read
    assert [
        column for column in ("body", "headers", "fingerprint") if f".`{column}`" in read or f'."{column}"' in read
    ] == [
        # the partner's default headers
        *(["headers"] if "notifier_partner" in read else []),
    ]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        case(1, [1, 1, 1, 1, 1, 1, 1], id="one-by-one"),
        case(2, [2, 2, 2, 1], id="by-twos"),
        case(3, [3, 3, 1], id="by-threes"),
        case(6, [6, 1], id="one-left"),
        case(7, [7], id="exactly-one-page"),
        case(200, [7], id="more-than-there-is"),
    ],
)
def test_pages_forth_and_back_give_each_task_once(limit: int, sizes: list[int]) -> None:
    ids = [str(task.task_id) for task in reversed(_tasks(7))]
    reader = caller()

    pages = [_page(reader, f"limit={limit}")]
    while pages[-1]["next"]:
        pages.append(_page(reader, _query(pages[-1]["next"])))

    assert [len(page["results"]) for page in pages] == sizes
    assert [task_id for page in pages for task_id in _ids(page)] == ids
    assert pages[0]["previous"] is None
    for before, page in itertools.pairwise(pages):
        assert _ids(_page(reader, _query(page["previous"]))) == _ids(before)


def test_the_way_back_ends_at_the_newest() -> None:
    ids = [str(task.task_id) for task in reversed(_tasks(5))]
    reader = caller()
    page = _page(reader, "limit=2")
    while page["next"]:
        page = _page(reader, _query(page["next"]))

    seen = [_ids(page)]
    while page["previous"]:
        page = _page(reader, _query(page["previous"]))
        seen.append(_ids(page))

    assert seen == [ids[4:], ids[2:4], ids[:2]]


def test_what_is_accepted_meanwhile_moves_no_page() -> None:
    partner = make_partner()
    tasks = _tasks(4, partner)
    reader = caller()
    first = _page(reader, "limit=2")

    newest = make_task(partner, created_at=AT + timedelta(minutes=1))

    second = _page(reader, _query(first["next"]))
    assert _ids(second) == [str(task.task_id) for task in (tasks[1], tasks[0])]
    back = _page(reader, _query(second["previous"]))
    assert _ids(back) == [str(task.task_id) for task in (tasks[3], tasks[2])]
    assert _ids(_page(reader, _query(back["previous"]))) == [str(newest.task_id)]


def test_a_cursor_outlives_the_task_it_stands_on() -> None:
    tasks = _tasks(4)
    reader = caller()
    link = _page(reader, "limit=2")["next"]

    NotificationTask.objects.filter(pk__in=[tasks[2].pk, tasks[1].pk]).delete()

    assert _ids(_page(reader, _query(link))) == [str(tasks[0].task_id)]


def test_a_page_link_keeps_the_filters_and_the_limit() -> None:
    partner = make_partner()
    _tasks(3, partner, status=Status.DEAD, metadata={"a b": "c&d"})
    _tasks(3, partner)
    query = {"partner_id": partner.partner_id, "status": "dead", "metadata.a b": "c&d", "limit": 2}
    reader = caller()

    first = _page(reader, urlencode(query))
    second = _page(reader, _query(first["next"]))

    assert [len(first["results"]), len(second["results"])] == [2, 1]
    assert {entry["status"] for entry in first["results"] + second["results"]} == {"dead"}


@pytest.mark.parametrize(
    ("limit", "count"), [("", 50), ("limit=50", 50), ("limit=51", 51), ("limit=60", 60), ("limit=200", 60)]
)
def test_the_limit_is_50_unless_one_is_given(limit: str, count: int) -> None:
    _tasks(60)

    assert len(_page(caller(), limit)["results"]) == count


@pytest.mark.parametrize(
    "limit",
    ["0", "201", "1000", "-1", "1.5", "1e2", "x", "", " ", "1 ", "+1", "0x10", "٣", "１", "9" * 5_000, "null", "1,2"],
)
def test_another_limit_is_refused(limit: str) -> None:
    shown = problem(caller().get(f"/v1/notify?{urlencode({'limit': limit})}"), 400, "invalid_request")

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("limit", "out_of_range")]


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "%", "cA", "cD0x", "cD1ub3RhdXVpZA==", "====", "cj0x" * 1_000, "null", "ü", "\x00", "' OR 1=1",
        "cD0wMTkwMDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDA7", "bz0tMQ==", "bz14", "cD0x&cj0x",
    ],
)  # fmt: skip
def test_a_cursor_made_by_hand_is_refused_or_harmless(cursor: str) -> None:
    _tasks(1)

    answer = caller().get(f"/v1/notify?{urlencode({'cursor': cursor})}")

    if answer.status_code != 200:
        shown = problem(answer, 400, "invalid_request")
        assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("cursor", "invalid")]


@pytest.mark.parametrize("cursor", ["cD1ub3RhdXVpZA==", "cD0x", "x"])
def test_a_cursor_that_is_no_place_in_the_list_is_refused(cursor: str) -> None:
    shown = problem(caller().get(f"/v1/notify?cursor={cursor}"), 400, "invalid_request")

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("cursor", "invalid")]


def test_by_partner() -> None:
    one, other = make_partner(), make_partner()
    mine = make_task(one)
    make_task(other)

    assert _listed({"partner_id": one.partner_id}) == [str(mine.task_id)]
    assert _listed({"partner_id": one.partner_id.upper()}) == []
    assert _listed({"partner_id": "nobody"}) == []


@pytest.mark.parametrize("status", Status)
def test_by_status(status: Status) -> None:
    partner = make_partner()
    by_status = {each: make_task(partner, status=each) for each in Status}

    assert _listed({"status": status.value}) == [str(by_status[status].task_id)]


def test_one_that_runs_again_runs_and_has_not_failed() -> None:
    partner = make_partner()
    again = make_task(partner, status=Status.RUNNING, attempt_count=2)

    assert _listed({"status": "running", "partner_id": partner.partner_id}) == [str(again.task_id)]
    assert _listed({"status": "failed"}) == _listed({"status": "failed", "partner_id": partner.partner_id}) == []


@pytest.mark.parametrize("reason", ["exhausted", "rejected", "expired", "cancelled", "blocked"])
def test_by_dead_reason(reason: str) -> None:
    partner = make_partner()
    wanted = make_task(partner, status=Status.DEAD, dead_reason=reason)
    make_task(partner, status=Status.DEAD, dead_reason="blocked" if reason != "blocked" else "expired")
    make_task(partner)

    assert _listed({"dead_reason": reason}) == [str(wanted.task_id)]
    assert _listed({"dead_reason": reason, "status": "pending"}) == []


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        case(None, None, [2, 1, 0], id="unbounded"),
        case(AT, None, [2, 1], id="after-the-first-excludes-it"),
        case(AT - timedelta(microseconds=1), None, [2, 1, 0], id="just-before-the-first"),
        case(AT + timedelta(microseconds=1), None, [2, 1], id="just-after-the-first"),
        case(AT + timedelta(seconds=2), None, [], id="after-the-last"),
        case(None, AT, [], id="before-the-first"),
        case(None, AT + timedelta(microseconds=1), [0], id="just-after-the-first-as-end"),
        case(None, AT + timedelta(seconds=2), [1, 0], id="before-the-last-excludes-it"),
        case(None, AT + timedelta(seconds=2, microseconds=1), [2, 1, 0], id="just-after-the-last"),
        case(AT, AT + timedelta(seconds=2), [1], id="between"),
        case(AT + timedelta(seconds=1), AT + timedelta(seconds=1), [], id="nothing-between"),
        case(AT + timedelta(hours=1), AT, [], id="the-wrong-way-round"),
        case(AT.replace(microsecond=123000), AT.replace(microsecond=124000), [0], id="within-a-millisecond"),
        case(AT.replace(year=1), AT.replace(year=9999), [2, 1, 0], id="all-of-time"),
        case(AT.replace(year=1900), AT.replace(year=1969), [], id="before-the-epoch"),
    ],
)
def test_by_time_of_acceptance(after: datetime | None, before: datetime | None, expected: list[int]) -> None:
    tasks = _tasks(3)
    query = {"created_after": after and _spelled(after), "created_before": before and _spelled(before)}

    listed = _listed({name: value for name, value in query.items() if value})

    assert listed == [str(tasks[index].task_id) for index in expected]


@pytest.mark.parametrize("microsecond", [0, 1, 499, 500, 999, 1000, 122999, 123000, 123456, 999000, 999499, 999999])
def test_a_task_lies_between_the_microseconds_around_it(microsecond: int) -> None:
    at = AT.replace(microsecond=microsecond)
    task = make_task(created_at=at)
    step = timedelta(microseconds=1)

    listed = _listed({"created_after": _spelled(at - step), "created_before": _spelled(at + step)})

    assert listed == [str(task.task_id)]
    assert _listed({"created_after": _spelled(at)}) == []
    assert _listed({"created_before": _spelled(at)}) == []


def test_by_metadata() -> None:
    partner = make_partner()
    one = make_task(partner, created_at=AT, metadata={"order": "17", "shop": "a"})
    two = make_task(partner, created_at=AT + timedelta(seconds=1), metadata={"order": "18", "shop": "a"})
    three = make_task(partner, created_at=AT + timedelta(seconds=2), metadata={"a.b": "ü=&", "e": ""})
    make_task(partner)

    assert _listed({"metadata.shop": "a"}) == [str(two.task_id), str(one.task_id)]
    assert _listed({"metadata.order": "17"}) == [str(one.task_id)]
    assert _listed({"metadata.order": "17", "metadata.shop": "a"}) == [str(one.task_id)]
    assert _listed({"metadata.order": "17", "metadata.shop": "b"}) == []
    assert _listed({"metadata.a.b": "ü=&"}) == [str(three.task_id)]
    assert _listed({"metadata.e": ""}) == [str(three.task_id)]
    assert _listed({"metadata.ORDER": "17"}) == []
    assert _listed({"metadata.shop": "A"}) == []
    assert _listed({"metadata.17": "order"}) == []
    assert _listed({"metadata.none": ""}) == []


def test_all_filters_together() -> None:
    partner = make_partner()
    wanted = make_task(partner, created_at=AT, status=Status.DEAD, dead_reason="expired", metadata={"a": "b"})
    make_task(partner, created_at=AT, status=Status.DEAD, dead_reason="expired")
    make_task(partner, created_at=AT, status=Status.DEAD, dead_reason="blocked", metadata={"a": "b"})
    make_task(
        partner, created_at=AT + timedelta(hours=1), status=Status.DEAD, dead_reason="expired", metadata={"a": "b"}
    )
    make_task(make_partner(), created_at=AT, status=Status.DEAD, dead_reason="expired", metadata={"a": "b"})

    listed = _listed(
        {
            "partner_id": partner.partner_id,
            "status": "dead",
            "dead_reason": "expired",
            "created_after": "2026-03-01T12:00:00Z",
            "created_before": "2026-03-01T13:30:00+01:00",
            "metadata.a": "b",
        }
    )

    assert listed == [str(wanted.task_id)]


def test_as_many_labels_as_a_task_can_have() -> None:
    metadata = {f"name-{number}": f"value {number}" for number in range(16)}
    task = make_task(metadata=metadata)

    assert _listed({f"metadata.{name}": value for name, value in metadata.items()}) == [str(task.task_id)]


@pytest.mark.parametrize("count", [17, 62, 500])
def test_more_labels_than_a_task_can_have_are_refused(count: int) -> None:
    query = urlencode({f"metadata.name-{number}": "a" for number in range(count)})

    shown = problem(caller().get(f"/v1/notify?{query}"), 400, "invalid_request")

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("metadata", "invalid")]


@pytest.mark.parametrize("count", [1_001, 5_000])
def test_more_parameters_than_django_reads_are_refused(count: int) -> None:
    query = "&".join(f"a{number}=" for number in range(count))

    problem(caller().get(f"/v1/notify?{query}"), 400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        case("partner_id=", "partner_id", "too_short", id="partner-empty"),
        case(f"partner_id={'a' * 65}", "partner_id", "too_long", id="partner-65-characters"),
        case("partner_id=a%00", "partner_id", "invalid", id="partner-nul"),
        case("status=", "status", "too_short", id="status-empty"),
        case("status=Pending", "status", "invalid_choice", id="status-case"),
        case("status=waiting", "status", "invalid_choice", id="status-unknown"),
        case("status=pending,failed", "status", "invalid_choice", id="status-list"),
        case("dead_reason=dead", "dead_reason", "invalid_choice", id="reason-unknown"),
        case("created_after=", "created_after", "invalid", id="time-empty"),
        case("created_after=yesterday", "created_after", "invalid", id="time-word"),
        case("created_after=2026-03-01", "created_after", "invalid", id="time-date"),
        case("created_after=2026-03-01T12:00:00", "created_after", "invalid", id="time-without-offset"),
        case("created_after=2026-03-01T12:00:00+01:00", "created_after", "invalid", id="time-plus-is-a-blank"),
        case("created_before=2026-02-30T12:00:00Z", "created_before", "invalid", id="time-no-such-day"),
        case("created_before=9999-12-31T23:59:59-01:00", "created_before", "invalid", id="time-beyond-the-last-year"),
        case("created_after=0001-01-01T00:00:00%2B01:00", "created_after", "invalid", id="time-before-the-first-year"),
        case("x=1", "x", "unknown_field", id="unknown"),
        case("Status=dead", "Status", "unknown_field", id="unknown-by-case"),
        case("metadata=a", "metadata", "unknown_field", id="metadata-without-a-name"),
        case("page=2", "page", "unknown_field", id="page"),
        case("offset=2", "offset", "unknown_field", id="offset"),
        case("ordering=created_at", "ordering", "unknown_field", id="ordering"),
        case("metadata.=a", "metadata", "invalid", id="metadata-empty-name"),
        case("status=dead&status=pending", "status", "invalid", id="twice"),
        case("metadata.a=1&metadata.a=2", "metadata.a", "invalid", id="label-twice"),
        case("limit=1&limit=2", "limit", "invalid", id="limit-twice"),
        case("cursor=a&cursor=b", "cursor", "invalid", id="cursor-twice"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(query: str, field: str, code: str) -> None:
    _tasks(1)

    answer = caller().get(f"/v1/notify?{query}")

    shown = problem(answer, 400, "unknown_field" if code == "unknown_field" else "invalid_request")
    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [(field, code)]


def test_a_query_that_is_not_utf_8_finds_nothing() -> None:
    _tasks(1, metadata={"a": "b"})

    assert _page(caller(), "metadata.a=%ff")["results"] == []


def test_a_key_for_some_partners_sees_only_their_tasks() -> None:
    one, two, three = make_partner(), make_partner(), make_partner()
    mine = [make_task(one, created_at=AT), make_task(two, created_at=AT + timedelta(seconds=1))]
    make_task(three)
    reader = caller(partners=(one.partner_id, two.partner_id))

    assert _ids(_page(reader, "")) == [str(task.task_id) for task in reversed(mine)]
    assert _ids(_page(reader, f"partner_id={one.partner_id}")) == [str(mine[0].task_id)]


def test_a_key_for_some_partners_may_not_ask_for_another() -> None:
    one, other = make_partner(), make_partner()
    reader = caller(partners=(one.partner_id,))

    for partner_id in (other.partner_id, "nobody", one.partner_id.upper()):
        problem(reader.get(f"/v1/notify?partner_id={partner_id}"), 403, "partner_not_permitted")
