"""One key, one task: the same request again gets it, another request is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier import clock, lifecycle
from notifier.models import NotificationLabel, NotificationTask, Partner, Status
from notifier.transactions import atomically
from tests.support.api import Answer, caller, document, notification, problem
from tests.support.factories import URL, make_partner
from tests.unit.cases import case

# A duplicate key breaks the transaction that a test without this would run in.
pytestmark = pytest.mark.django_db(transaction=True)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _post(partner: Partner, *, key_header: str | None = None, **fields: Any) -> Answer:
    headers = {} if key_header is None else {"Idempotency-Key": key_header}
    return caller().notify(notification(partner, **fields), headers=headers)


def _replayed(answer: Answer, first: Answer) -> dict[str, Any]:
    """The answer names the task that the first one made."""
    shown: dict[str, Any] = document(answer, 200)
    assert shown["task_id"] == document(first, 202)["task_id"]
    assert shown["idempotent_replay"] is True
    assert answer["Idempotency-Replayed"] == "true"
    assert answer["Location"] == f"/v1/notify/{shown['task_id']}"
    assert NotificationTask.objects.count() == 1
    return shown


def test_the_same_request_again_gets_the_task_that_exists() -> None:
    partner = make_partner()
    fields: dict[str, Any] = {
        "body": {"a": 1}, "headers": {"X-A": "b", "Authorization": "c"}, "metadata": {"m": "n"}, "method": "PUT",
        "success_condition": "status == 204", "deliver_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip

    first = _post(partner, idempotency_key="k", **fields)
    again = _post(partner, idempotency_key="k", **fields)

    assert _replayed(again, first) == document(first, 202) | {"idempotent_replay": True}
    assert NotificationLabel.objects.count() == 1


def test_the_smallest_request_again_gets_the_task_that_exists() -> None:
    partner = make_partner()

    first, again = _post(partner, idempotency_key="k"), _post(partner, idempotency_key="k")

    assert _replayed(again, first) == document(first, 202) | {"idempotent_replay": True}


def _cancel() -> None:
    task = NotificationTask.objects.get()
    assert atomically(lambda: lifecycle.cancel(task, now=clock.now()))


def test_a_replay_shows_the_task_as_it_is_now() -> None:
    partner = make_partner()
    first = _post(partner, idempotency_key="k")
    _cancel()

    shown = _replayed(_post(partner, idempotency_key="k"), first)

    assert (shown["status"], shown["next_attempt_at"]) == ("dead", None)
    assert NotificationTask.objects.get().status == Status.DEAD


@pytest.mark.parametrize(
    "spelled",
    [
        case({"target_url": "HTTPS://HOOKS.example.com:443/in"}, id="url"),
        case({"method": "POST"}, id="method-by-name"),
        case({"headers": {"x-b": "2", "X-A": "1"}}, id="headers-in-another-order-and-case"),
        case({"body": {"a": 1.50}}, id="body"),
        case({"deliver_at": "2026-01-01T01:00:00+01:00"}, id="deliver-at-with-an-offset"),
    ],
)
def test_the_same_request_in_other_words_is_the_same(spelled: dict[str, Any]) -> None:
    partner = make_partner()
    fields: dict[str, Any] = {
        "idempotency_key": "k", "headers": {"X-A": "1", "X-B": "2"}, "body": {"a": 1.5}, "deliver_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    first = _post(partner, **fields)

    again = _post(partner, **(fields | spelled))

    _replayed(again, first)


@pytest.mark.parametrize(
    "aside",
    [
        case({"priority": 9}, id="priority"),
        case({"max_attempts": 1}, id="max-attempts"),
        case({"metadata": {"a": "b"}}, id="metadata"),
        case({"expires_at": "2999-01-01T00:00:00Z"}, id="expires-at"),
    ],
)
def test_what_is_not_part_of_the_fingerprint_may_differ_and_changes_nothing(aside: dict[str, Any]) -> None:
    partner = make_partner()
    first = _post(partner, idempotency_key="k")
    before = NotificationTask.objects.values().get()

    again = _post(partner, idempotency_key="k", **aside)

    _replayed(again, first)
    assert NotificationTask.objects.values().get() == before
    assert NotificationLabel.objects.count() == 0


WHOLE: dict[str, Any] = {
    "idempotency_key": "k",
    "method": "PUT",
    "headers": {"X-A": "1"},
    "body": {"a": 1},
    "success_condition": "status == 200",
    "deliver_at": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("other", "without"),
    [
        case({"method": "POST"}, [], id="method"),
        case({}, ["method"], id="method-default"),
        case({"target_url": URL + "?a"}, [], id="url"),
        case({"target_url": URL.replace("https", "http")}, [], id="scheme"),
        case({"headers": {"X-A": "2"}}, [], id="header-value"),
        case({"headers": {"X-B": "1"}}, [], id="header-name"),
        case({"headers": {"X-A": "1", "X-B": "1"}}, [], id="header-more"),
        case({}, ["headers"], id="headers-none"),
        case({"body": {"a": 2}}, [], id="body"),
        case({"body": {"a": "1"}}, [], id="body-type"),
        case({"body": None}, [], id="body-null"),
        case({}, ["body"], id="body-none"),
        case({"body_text": '{"a": 1}'}, ["body"], id="body-text"),
        case({"success_condition": "status == 201"}, [], id="condition"),
        case({}, ["success_condition"], id="condition-none"),
        case({"deliver_at": "2026-01-01T00:00:01Z"}, [], id="deliver-at"),
        case({}, ["deliver_at"], id="deliver-at-none"),
    ],
)
def test_another_request_under_the_key_is_refused(other: dict[str, Any], without: list[str]) -> None:
    partner = make_partner()
    task_id = document(_post(partner, **WHOLE), 202)["task_id"]
    before = NotificationTask.objects.values().get()
    asked = {name: value for name, value in (WHOLE | other).items() if name not in without}

    shown = problem(_post(partner, **asked), 422, "idempotency_key_reused")

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [
        ("idempotency_key", "idempotency_key_reused")
    ]
    assert task_id in shown["message"]
    assert NotificationTask.objects.values().get() == before


def test_a_sealed_header_with_another_value_is_another_request() -> None:
    partner = make_partner()
    document(_post(partner, idempotency_key="k", headers={"Authorization": "Bearer a"}), 202)

    answer = _post(partner, idempotency_key="k", headers={"Authorization": "Bearer b"})

    problem(answer, 422, "idempotency_key_reused")
    assert NotificationTask.objects.count() == 1


def test_null_and_no_body_are_two_requests() -> None:
    partner = make_partner()
    document(_post(partner, idempotency_key="k"), 202)

    problem(_post(partner, idempotency_key="k", body=None), 422, "idempotency_key_reused")

    assert NotificationTask.objects.count() == 1
    assert NotificationTask.objects.get().body is None


@pytest.mark.parametrize(
    "keys",
    [
        case(["Abc", "abc", "ABC"], id="case"),
        case(["abc", "abc ", "abc  "], id="trailing-blanks"),
        case(["abc", " abc"], id="leading-blank"),
        case(["o", "ö", "Ö"], id="accents"),
        case(["\u00e9", "e\u0301"], id="compositions"),
        case(["ss", "ß"], id="expansions"),
        case(["ａ", "a"], id="widths"),
        case(["a", "a\u200b", "a\u00ad"], id="invisible"),
        case(["😀", "😁"], id="beyond-the-basic-plane"),
        case(["1", "01", "1.0"], id="numbers"),
        case(["x" * 254, "x" * 255], id="lengths"),
        case(["x" * 254 + "a", "x" * 254 + "b"], id="last-characters"),
    ],
)
def test_keys_are_equal_only_if_every_byte_is(keys: list[str]) -> None:
    partner = make_partner()

    made = [document(_post(partner, idempotency_key=key), 202)["task_id"] for key in keys]
    again = [document(_post(partner, idempotency_key=key), 200)["task_id"] for key in keys]

    assert again == made
    assert {task.idempotency_key for task in NotificationTask.objects.all()} == set(keys)
    assert NotificationTask.objects.count() == len(keys)


def test_a_key_is_a_partners_own() -> None:
    one, other = make_partner(), make_partner()

    first, second = _post(one, idempotency_key="k"), _post(other, idempotency_key="k")

    assert document(first, 202)["task_id"] != document(second, 202)["task_id"]
    assert NotificationTask.objects.count() == 2


def test_a_key_is_shared_by_all_producers_of_a_partner() -> None:
    partner = make_partner()
    first = caller().notify(notification(partner, idempotency_key="k"))

    _replayed(caller(partners=(partner.partner_id,)).notify(notification(partner, idempotency_key="k")), first)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        case("abc", "abc", id="bare"),
        case('"abc"', "abc", id="quoted"),
        case(" abc ", "abc", id="blanks-around-are-the-header's"),
        case('"abc "', "abc ", id="blanks-in-quotes-are-the-key's"),
        case('"a\\"b\\\\c"', 'a"b\\c', id="escapes"),
        case('a"b', 'a"b', id="quote-inside-a-bare-one"),
        case("a b,c;d=e", "a b,c;d=e", id="any-ascii"),
        case("x" * 255, "x" * 255, id="longest"),
        case(f'"{"x" * 255}"', "x" * 255, id="longest-quoted"),
    ],
)
def test_the_key_may_come_by_header_or_body_and_is_the_same(header: str, key: str) -> None:
    partner = make_partner()

    by_header = _post(partner, key_header=header)
    by_body = _post(partner, idempotency_key=key)
    by_both = _post(partner, key_header=header, idempotency_key=key)

    _replayed(by_body, by_header)
    _replayed(by_both, by_header)
    assert NotificationTask.objects.get().idempotency_key == key


def test_a_refused_request_leaves_its_key_free() -> None:
    partner = make_partner()
    problem(_post(partner, idempotency_key="k", target_url="https://other.example/"), 422, "host_not_allowed")

    document(_post(partner, idempotency_key="k"), 202)

    assert NotificationTask.objects.count() == 1


def test_a_replay_is_answered_although_its_time_is_over() -> None:
    partner = make_partner()
    expires_at = _time(clock.now() + timedelta(hours=1))
    first = _post(partner, idempotency_key="k", expires_at=expires_at)
    # An hour later: the same request names a time that has passed.
    gone = clock.now() - timedelta(seconds=1)
    NotificationTask.objects.update(expires_at=gone)

    again = _post(partner, idempotency_key="k", expires_at=_time(gone))

    _replayed(again, first)


@pytest.mark.parametrize(
    "change",
    [{"enabled": False}, {"allow_hosts": ["other.example"]}, {"allow_hosts": []}],
    ids=["disabled", "hosts", "none"],
)
def test_a_replay_is_answered_although_the_partner_has_changed(change: dict[str, Any]) -> None:
    partner = make_partner()
    first = _post(partner, idempotency_key="k")
    task = NotificationTask.objects.get()
    # Another row than the one that intake has read, so that its copy is not in the way.
    changed = make_partner(**change)
    NotificationTask.objects.filter(pk=task.pk).update(partner=changed)

    again = _post(changed, idempotency_key="k")

    shown = document(again, 200)
    assert shown["task_id"] == document(first, 202)["task_id"]
    assert shown["idempotent_replay"] is True
    assert NotificationTask.objects.count() == 1


def test_another_request_under_the_key_of_a_disabled_partner_is_refused_for_that() -> None:
    partner = make_partner()
    document(_post(partner, idempotency_key="k"), 202)
    disabled = make_partner(enabled=False)
    NotificationTask.objects.update(partner=disabled)

    problem(_post(disabled, idempotency_key="k", body=1), 422, "partner_disabled")

    assert NotificationTask.objects.count() == 1


def test_a_dead_tasks_key_is_armed_again_by_requeue() -> None:
    partner = make_partner()
    first = _post(partner, idempotency_key="k")
    task_id = document(first, 202)["task_id"]
    _cancel()

    document(caller().post(f"/v1/notify/{task_id}/requeue"))

    assert _replayed(_post(partner, idempotency_key="k"), first)["status"] == "pending"
