"""POST /v1/notify/batch: each notification is answered as a single post would be, and harms no other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries

from notifier import clock
from notifier.api import serializers
from notifier.lifecycle.accept import STATEMENT_BYTES
from notifier.models import NotificationLabel, NotificationTask
from notifier.models.label import label_digest
from tests.support.api import Answer, Caller, caller, document, nothing_stored, notification, problem
from tests.support.factories import URL, make_api_key, make_partner
from tests.unit.cases import case

# A duplicate key breaks the transaction that a test without this would run in.
pytestmark = pytest.mark.django_db(transaction=True)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _post(who: Caller, *items: Any, **how: Any) -> Answer:
    return who.post("/v1/notify/batch", {"notifications": list(items)}, **how)


def _results(answer: Answer) -> list[dict[str, Any]]:
    """The results, whose shape is checked: in order, each with its outcome, and counted."""
    shown = document(answer)
    assert list(shown) == ["accepted", "rejected", "results"]
    for index, entry in enumerate(shown["results"]):
        assert entry["index"] == index
        if entry["status"] in (200, 202):
            assert list(entry) == ["index", "status", "task_id"]
            assert str(uuid.UUID(entry["task_id"])) == entry["task_id"]
        else:
            assert 400 <= entry["status"] < 500
            assert list(entry) == ["index", "status", "error"]
            assert list(entry["error"]) == ["code", "message", "details"]
            assert entry["error"]["message"].strip()
    assert shown["accepted"] == sum("task_id" in entry for entry in shown["results"])
    assert shown["accepted"] + shown["rejected"] == len(shown["results"])
    return list(shown["results"])


def _statuses(answer: Answer) -> list[int]:
    return [entry["status"] for entry in _results(answer)]


def _codes(answer: Answer) -> list[tuple[int, str | None]]:
    return [(entry["status"], entry["error"]["code"] if "error" in entry else None) for entry in _results(answer)]


def test_every_notification_is_stored_as_a_single_post_stores_it(woken: list[list[str]]) -> None:
    one, other = make_partner(), make_partner(max_attempts=7)
    producer = caller()
    asked = [
        notification(one, body={"n": 1}, metadata={"a": "b", "c": "d"}),
        notification(other, method="PUT", headers={"X-A": "ü", "Authorization": "hunter2"}, body_text="x"),
        notification(one, priority=9, body_base64="AP8=", success_condition="status == 204", metadata={"a": "b"}),
        notification(other, deliver_at="2026-01-01T00:00:00Z", max_attempts=3, idempotency_key="k"),
    ]

    singles = [document(producer.notify(item | {"idempotency_key": f"s{n}"}), 202) for n, item in enumerate(asked)]
    results = _results(_post(producer, *asked, headers={"Traceparent": TRACEPARENT}))

    assert [entry["status"] for entry in results] == [202] * 4
    for single, entry in zip(singles, results, strict=True):
        by_single = NotificationTask.objects.values().get(task_id=single["task_id"])
        in_batch = NotificationTask.objects.values().get(task_id=entry["task_id"])
        own = {
            "id", "task_id", "idempotency_key", "traceparent", "created_at", "updated_at", "next_attempt_at",
            "expires_at", "headers", "request_id",
        }  # fmt: skip
        assert {name: value for name, value in in_batch.items() if name not in own} == {
            name: value for name, value in by_single.items() if name not in own
        }
        assert in_batch["headers"].keys() == by_single["headers"].keys()
        assert in_batch["traceparent"] == TRACEPARENT
        labels = NotificationLabel.objects.filter(task__task_id=in_batch["task_id"]).values_list("digest", flat=True)
        assert sorted(labels) == sorted(label_digest(*label) for label in in_batch["metadata"].items())
    assert "hunter2" not in str(list(NotificationTask.objects.values()))
    assert woken[4:] == [sorted([one.partner_id, other.partner_id])]


def test_one_bad_item_does_not_harm_the_others_and_is_told_what_a_single_post_is_told() -> None:
    partner, foreign = make_partner(), make_partner()
    producer = caller(partners=(partner.partner_id, "nobody"))
    bad = [
        notification(partner, priority=99),
        notification(partner, surprise=1),
        notification(partner, body=1, body_text="x"),
        {"partner_id": partner.partner_id},
        notification(partner, target_url="https://other.example/"),
        notification(partner, partner_id="nobody"),
        notification(foreign),
        notification(partner, deliver_at="9999-01-01T00:00:00Z"),
        notification(partner, expires_at="2020-01-01T00:00:00Z"),
        notification(partner, headers={"Authorization": "{{secret:acme}}"}),
        notification(partner, headers={"Host": "x"}, metadata=[], success_condition="1 +"),
    ]
    mixed = [item for wrong in bad for item in (wrong, notification(partner))]

    results = _results(_post(producer, *mixed))

    assert [entry["status"] for entry in results[1::2]] == [202] * len(bad)
    for wrong, entry in zip(bad, results[::2], strict=True):
        alone = producer.notify(wrong)
        shown = problem(alone, entry["status"], entry["error"]["code"])
        assert entry["error"] == {name: shown[name] for name in ("code", "message", "details")}
    assert NotificationTask.objects.count() == len(bad)


@pytest.mark.parametrize(
    ("item", "code"),
    [
        case("null", "invalid_request", id="null"),
        case("1", "invalid_request", id="number"),
        case('"x"', "invalid_request", id="string"),
        case("[]", "invalid_request", id="list"),
        case('{"partner_id": "a", "partner_id": "b"}', "duplicate_name", id="duplicate-name"),
        case('{"body": {"a": 1, "a": 1}}', "duplicate_name", id="duplicate-name-in-the-body"),
        case('{"body": "\\ud800"}', "invalid_json", id="half-a-surrogate-pair"),
        case('{"\\ud800": 1}', "invalid_json", id="half-a-surrogate-pair-as-a-name"),
        case('{"body":' + "[" * 64 + "]" * 64 + "}", "too_deep", id="too-deep"),
    ],
)
def test_what_is_no_notification_is_refused_alone(item: str, code: str) -> None:
    good = json.dumps(notification(make_partner()))

    answer = caller().post("/v1/notify/batch", raw=f'{{"notifications": [{good}, {item}, {good}]}}'.encode())

    assert _codes(answer) == [(202, None), (400, code), (202, None)]
    assert NotificationTask.objects.count() == 2


def test_a_body_may_be_as_deep_as_in_a_single_post() -> None:
    deepest = "[" * 63 + "]" * 63
    fields = json.dumps(notification(make_partner()))[:-1]

    answer = caller().post("/v1/notify/batch", raw=f'{{"notifications": [{fields}, "body": {deepest}}}]}}'.encode())

    assert _statuses(answer) == [202]
    assert bytes(NotificationTask.objects.get().body or b"") == deepest.encode()


@pytest.mark.parametrize(
    ("raw", "code", "field", "detail_code"),
    [
        case(b"", "invalid_request", "notifications", "required", id="nothing"),
        case(b"{", "invalid_json", "", "invalid_json", id="broken"),
        case(b"[]", "invalid_request", "", "invalid_request", id="a-list"),
        case(b"{}", "invalid_request", "notifications", "required", id="no-list"),
        case(b'{"notifications": null}', "invalid_request", "notifications", "invalid_type", id="null"),
        case(b'{"notifications": {}}', "invalid_request", "notifications", "invalid_type", id="object"),
        case(b'{"notifications": "x"}', "invalid_request", "notifications", "invalid_type", id="string"),
        case(b'{"notifications": []}', "invalid_request", "notifications", "too_short", id="empty"),
        case(b'{"notifications": [{}], "a": 1}', "unknown_field", "a", "unknown_field", id="unknown"),
        case(b'{"notifications": [{}], "\\ud800": 1}', "invalid_json", "", "invalid_json", id="surrogate"),
        case(b'{"notifications": [], "notifications": []}', "duplicate_name", "", "duplicate_name", id="twice"),
        case(b'{"notifications": [NaN]}', "invalid_json", "", "invalid_json", id="nan"),
    ],
)
def test_what_is_no_batch_is_400(raw: bytes, code: str, field: str, detail_code: str) -> None:
    shown = problem(caller().post("/v1/notify/batch", raw=raw), 400, code)

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [(field, detail_code)]
    nothing_stored()


def test_a_header_key_is_refused_because_it_could_not_hold_for_each() -> None:
    answer = _post(caller(), notification(make_partner()), headers={"Idempotency-Key": "k"})

    shown = problem(answer, 400, "invalid_request")
    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("Idempotency-Key", "invalid")]
    nothing_stored()


def test_a_thousand_are_taken_and_one_more_is_not(woken: list[list[str]]) -> None:
    partners = [make_partner() for _ in range(3)]
    many = [notification(partners[n % 3], body=n, metadata={"n": str(n)}) for n in range(serializers.MAX_BATCH)]

    problem(_post(caller(), *many, many[0]), 400, "invalid_request")
    nothing_stored()
    results = _results(_post(caller(), *many))

    assert {entry["status"] for entry in results} == {202}
    stored = {str(task.task_id): bytes(task.body or b"") for task in NotificationTask.objects.all()}
    assert [stored[entry["task_id"]] for entry in results] == [str(n).encode() for n in range(serializers.MAX_BATCH)]
    assert NotificationLabel.objects.count() == serializers.MAX_BATCH
    assert woken == [sorted(partner.partner_id for partner in partners)]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_batch_is_posted(method: str) -> None:
    problem(caller().send(method, "/v1/notify/batch"), 405, "method_not_allowed")


def test_a_batch_needs_the_scope() -> None:
    problem(_post(caller(scopes=("notify:read",)), notification(make_partner())), 403, "missing_scope")
    problem(Caller(None).post("/v1/notify/batch", raw=b"{"), 401, "not_authenticated")
    nothing_stored()


def test_a_batch_has_a_limit_of_its_own() -> None:
    partner = make_partner()
    each = settings.NOTIFIER_MAX_BODY_BYTES // 2
    three = [notification(partner, body_text="x" * each) for _ in range(3)]

    assert _statuses(_post(caller(), *three)) == [202] * 3
    raw = json.dumps({"notifications": three}).encode().ljust(settings.NOTIFIER_MAX_BATCH_BYTES)
    assert _statuses(caller().post("/v1/notify/batch", raw=raw)) == [202] * 3
    shown = problem(caller().post("/v1/notify/batch", raw=raw + b" "), 413, "payload_too_large")

    assert str(settings.NOTIFIER_MAX_BATCH_BYTES) in shown["message"]
    assert NotificationTask.objects.count() == 6


def test_a_body_that_no_single_post_could_bring_is_refused_alone() -> None:
    partner, limit = make_partner(), settings.NOTIFIER_MAX_BODY_BYTES
    too_large, largest = (notification(partner, body_text="x" * size) for size in (limit + 1, limit))

    assert _codes(_post(caller(), too_large, largest)) == [(413, "payload_too_large"), (202, None)]
    assert len(NotificationTask.objects.get().body or b"") == limit


def test_a_batch_larger_than_a_statement_is_divided_and_committed_together(
    django_assert_num_queries: DjangoAssertNumQueries, settings: Any
) -> None:
    settings.NOTIFIER_MAX_BATCH_BYTES = 3 * STATEMENT_BYTES
    producer, partner = caller(), make_partner()
    document(producer.notify(notification(partner)), 202)
    body = "x" * (settings.NOTIFIER_MAX_BODY_BYTES - 1000)
    count = 2 * STATEMENT_BYTES // len(body) + 1

    answer = _post(producer, *(notification(partner, body_text=f"{n:03}{body}") for n in range(count)))

    results = _results(answer)
    assert {entry["status"] for entry in results} == {202}
    stored = dict(NotificationTask.objects.values_list("task_id", "body"))
    assert [bytes(stored[uuid.UUID(entry["task_id"])] or b"")[:3] for entry in results] == [
        f"{n:03}".encode() for n in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 500])
def test_a_batch_is_one_statement_whatever_it_holds(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    producer, partners = caller(), [make_partner() for _ in range(5)]
    document(_post(producer, *(notification(partner) for partner in partners)))

    with django_assert_num_queries(1):
        answer = _post(producer, *(notification(partners[n % 5], idempotency_key=f"k{n}") for n in range(count)))

    assert _statuses(answer) == [202] * count


def test_rows_and_labels_are_one_transaction_of_two_statements(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    producer, partner = caller(), make_partner()
    document(_post(producer, notification(partner)))

    with django_assert_num_queries(4) as queries:  # with its beginning and its end
        _post(producer, *(notification(partner, metadata={"a": str(n), "b": "c"}) for n in range(50)))

    inserts = [query["sql"] for query in queries.captured_queries if query["sql"].startswith("INSERT")]
    assert ["notificationtask" in sql for sql in inserts] == [True, False]
    assert NotificationLabel.objects.count() == 100


def test_accepted_notifications_of_a_batch_are_counted() -> None:
    producer, partner = caller(), make_partner()
    before = REGISTRY.get_sample_value("notifier_accepted_total") or 0.0

    _post(
        producer, *(notification(partner, **fields) for fields in ({}, {"priority": 99}, {}, {"idempotency_key": "k"}))
    )
    _post(producer, notification(partner, idempotency_key="k"))

    assert (REGISTRY.get_sample_value("notifier_accepted_total") or 0.0) - before == 3.0


def test_what_is_scheduled_wakes_nobody(woken: list[list[str]]) -> None:
    one, other = make_partner(), make_partner()
    later = f"{clock.now().year + 1}-01-01T00:00:00Z"
    asked = [
        notification(one, deliver_at=later),
        notification(other, priority=99),
        notification(other, deliver_at=later),
    ]

    assert _statuses(_post(caller(), *asked)) == [202, 400, 202]
    assert woken == []


# --- Idempotency: within a batch and across -----------------------------------------------------------------------


def test_the_same_batch_again_gets_the_same_tasks() -> None:
    partner, producer = make_partner(), caller()
    asked = [notification(partner, idempotency_key=f"k{n}", body=n, metadata={"a": "b"}) for n in range(20)]

    first, again = _results(_post(producer, *asked)), _results(_post(producer, *reversed(asked)))

    assert {entry["status"] for entry in first} == {202}
    assert {entry["status"] for entry in again} == {200}
    assert [entry["task_id"] for entry in reversed(again)] == [entry["task_id"] for entry in first]
    assert (NotificationTask.objects.count(), NotificationLabel.objects.count()) == (20, 20)


def test_new_ones_among_old_ones_are_stored_once() -> None:
    partner, producer = make_partner(), caller()
    old = document(producer.notify(notification(partner, idempotency_key="old")), 202)["task_id"]

    results = _results(
        _post(
            producer,
            notification(partner, idempotency_key="new"),
            notification(partner, idempotency_key="old"),
            notification(partner),
            notification(partner, idempotency_key="old", body=1),
            notification(partner, idempotency_key="new"),
            notification(partner, idempotency_key="new", body=1),
        )
    )

    assert [entry["status"] for entry in results] == [202, 200, 202, 422, 200, 422]
    assert results[1]["task_id"] == old
    assert results[4]["task_id"] == results[0]["task_id"]
    assert [results[n]["error"]["code"] for n in (3, 5)] == ["idempotency_key_reused"] * 2
    assert old in results[3]["error"]["message"]
    assert results[0]["task_id"] in results[5]["error"]["message"]
    assert NotificationTask.objects.count() == 3


def test_a_key_is_a_partners_own_in_a_batch_too() -> None:
    one, other = make_partner(), make_partner()
    asked = [notification(partner, idempotency_key=key) for partner in (one, other) for key in ("k", "K", "k ")]

    first, again = (_results(_post(caller(), *asked)) for _ in range(2))

    assert len({entry["task_id"] for entry in first}) == 6
    assert [entry["task_id"] for entry in again] == [entry["task_id"] for entry in first]


def test_what_was_accepted_once_stays_accepted_in_a_batch_too() -> None:
    partner, producer = make_partner(), caller()
    early = {"idempotency_key": "k", "expires_at": "2020-01-01T00:00:00Z"}
    accepted = notification(partner, idempotency_key="k")

    before, within, after = (
        _codes(_post(producer, notification(partner, **early))),
        _codes(_post(producer, notification(partner, **early), accepted, notification(partner, **early))),
        _codes(_post(producer, notification(partner, **early))),
    )

    assert before == [(422, "expires_too_early")]
    # The first stood before what accepted its key.
    assert within == [(422, "expires_too_early"), (202, None), (200, None)]
    assert after == [(200, None)]
    assert NotificationTask.objects.count() == 1


@pytest.mark.parametrize(
    "spoil", [lambda item: item | {"priority": 99}, lambda item: item | {"target_url": "https://x.example/"}]
)
def test_a_refused_one_leaves_its_key_to_the_next(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    item = notification(make_partner(), idempotency_key="k", target_url=URL)

    assert _statuses(_post(caller(), spoil(item), item, item))[1:] == [202, 200]
    assert NotificationTask.objects.count() == 1


def test_a_key_for_some_partners_posts_only_theirs() -> None:
    own, other = make_partner(), make_partner()
    producer = Caller(make_api_key(partners=(own.partner_id,))[1])

    codes = _codes(_post(producer, notification(other), notification(own), notification(own, partner_id="nobody")))

    assert codes == [(403, "partner_not_permitted"), (202, None), (403, "partner_not_permitted")]
    assert NotificationTask.objects.filter(partner=other).count() == 0
