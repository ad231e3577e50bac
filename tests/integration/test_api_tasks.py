"""One task: reading it and its attempts, cancelling, requeueing."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier import clock, sealing
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status
from notifier.models.task import DeadReason
from tests.support.api import Caller, caller, document, notification, problem
from tests.support.factories import URL, make_api_key, make_attempt, make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
FINISHED = [Status.SUCCEEDED, Status.DEAD]
UNFINISHED = [Status.PENDING, Status.RUNNING, Status.FAILED]


def _path(task: NotificationTask, action: str = "") -> str:
    return f"/v1/notify/{task.task_id}{action}"


def _row(task: NotificationTask) -> dict[str, Any]:
    return dict(NotificationTask.objects.values().get(pk=task.pk))


def test_a_task_is_shown_with_everything_that_was_asked() -> None:
    partner = make_partner()
    producer, now = caller(), clock.now()
    asked = notification(
        partner,
        method="PUT",
        headers={"X-A": "b", "Authorization": "Bearer c"},
        body={"a": [1, None]},
        idempotency_key="k",
        priority=8,
        success_condition="status == 204",
        deliver_at=(now + timedelta(hours=1)).isoformat(),
        expires_at=(now + timedelta(hours=2)).isoformat(),
        max_attempts=3,
        metadata={"order": "17"},
    )
    accepted = document(producer.notify(asked), 202)

    shown = document(producer.get(f"/v1/notify/{accepted['task_id']}"))

    assert shown == {
        "task_id": accepted["task_id"],
        "partner_id": partner.partner_id,
        "target_url": URL,
        "method": "PUT",
        "idempotency_key": "k",
        "priority": 8,
        "metadata": {"order": "17"},
        "status": "pending",
        "dead_reason": None,
        "attempt_count": 0,
        "max_attempts": 3,
        "next_attempt_at": accepted["next_attempt_at"],
        "created_at": accepted["created_at"],
        "updated_at": accepted["created_at"],
        "finished_at": None,
        "last_attempt": None,
        "headers": {"X-A": "b", "Authorization": "***"},
        "body": {"a": [1, None]},
        "success_condition": "status == 204",
        "deliver_at": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "expires_at": (now + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def test_a_task_after_an_attempt() -> None:
    task = make_task(
        status=Status.FAILED, created_at=AT, next_attempt_at=AT + timedelta(minutes=1), last_attempt_no=1,
        last_attempt_status="failed", last_http_status_code=503, last_error_code="http_503",
        last_error_message="The partner answered 503.", last_latency_ms=12.5, last_attempt_at=AT + timedelta(seconds=1),
    )  # fmt: skip

    shown = document(caller().get(_path(task)))

    assert (shown["status"], shown["attempt_count"]) == ("failed", 1)
    assert shown["next_attempt_at"] == "2026-03-01T12:01:00.123456Z"
    assert shown["last_attempt"] == {
        "attempt_no": 1,
        "status": "failed",
        "http_status_code": 503,
        "error_code": "http_503",
        "error_message": "The partner answered 503.",
        "latency_ms": 12.5,
        "created_at": "2026-03-01T12:00:01.123456Z",
    }


@pytest.mark.parametrize("status", Status)
def test_a_task_in_every_state(status: Status) -> None:
    task = make_task(status=status, created_at=AT)

    shown = document(caller().get(_path(task)))

    at = "2026-03-01T12:00:00.123456Z"
    assert shown["status"] == status.value
    assert shown["dead_reason"] == ("exhausted" if status == Status.DEAD else None)
    assert shown["next_attempt_at"] == (at if status in (Status.PENDING, Status.FAILED) else None)
    assert shown["finished_at"] == (at if status in FINISHED else None)
    assert not {"lease_token", "lease_expires_at", "fingerprint", "id", "created_by", "traceparent"} & set(shown)


def test_the_condition_is_the_partners_where_none_was_given() -> None:
    task = make_task(make_partner(success_condition="status == 201"))

    assert document(caller().get(_path(task)))["success_condition"] == "status == 201"


@pytest.mark.parametrize(
    ("body", "body_format", "shown"),
    [
        case(None, None, {}, id="none"),
        case(b"null", "body", {"body": None}, id="null"),
        case(b'{"a":1}', "body", {"body": {"a": 1}}, id="json"),
        case(b"", "body_text", {"body_text": ""}, id="empty-text"),
        case("ü".encode(), "body_text", {"body_text": "ü"}, id="text"),
        case(b"\x00\xff", "body_base64", {"body_base64": "AP8="}, id="binary"),
    ],
)
def test_a_body_is_shown_in_the_field_in_which_it_was_given(
    body: bytes | None, body_format: str | None, shown: dict[str, Any]
) -> None:
    task = make_task(body=body, body_format=body_format)

    document_shown = document(caller().get(_path(task)))

    assert {name: value for name, value in document_shown.items() if name.startswith("body")} == shown


def test_a_header_that_became_sensitive_later_is_masked_too(settings: Any) -> None:
    task = make_task(headers={"X-Token": "hunter2"} | sealing.seal_headers({"Cookie": "hunter2"}))
    settings.NOTIFIER_SENSITIVE_HEADERS = ["x-token"]

    answer = caller().get(_path(task))

    assert document(answer)["headers"] == {"X-Token": "***", "Cookie": "***"}
    assert b"hunter2" not in answer.content


def test_a_task_without_attempts_has_an_empty_history() -> None:
    assert document(caller().get(_path(make_task(), "/attempts"))) == {"results": []}


def test_attempts_are_shown_oldest_first_with_all_that_is_known() -> None:
    task = make_task(status=Status.SUCCEEDED, attempt_count=3)
    make_attempt(
        task, 3, status=AttemptStatus.SUCCEEDED, http_status_code=200, error_code=None, error_message=None, latency_ms=40.25,
        dns_ms=1.0, connect_ms=2.5, tls_ms=3.0, ttfb_ms=4.0, remote_ip="2606:4700::1111", created_at=AT,
        response_headers=[["Server", "x"], ["Set-Cookie", "***"]], response_body="ok\x00ü",
    )  # fmt: skip
    make_attempt(task, 1, created_at=AT - timedelta(minutes=2))
    make_attempt(
        task, 2, status=AttemptStatus.LEASE_EXPIRED, http_status_code=None, error_code="lease_expired", error_message="Lost.",
        latency_ms=None, created_at=AT - timedelta(minutes=1),
    )  # fmt: skip
    make_attempt(make_task(), 1)

    shown = document(caller().get(_path(task, "/attempts")))

    nothing = dict.fromkeys(["dns_ms", "connect_ms", "tls_ms", "ttfb_ms", "remote_ip"])
    assert shown == {
        "results": [
            {
                "attempt_no": 1, "status": "failed", "http_status_code": 503, "error_code": "http_503",
                "error_message": "The partner answered 503.", "latency_ms": 12.5, "total_ms": 12.5,
                "response_headers": [], "response_body": "", "created_at": "2026-03-01T11:58:00.123456Z",
            } | nothing,
            {
                "attempt_no": 2, "status": "lease_expired", "http_status_code": None, "error_code": "lease_expired",
                "error_message": "Lost.", "latency_ms": None, "total_ms": None,
                "response_headers": [], "response_body": "", "created_at": "2026-03-01T11:59:00.123456Z",
            } | nothing,
            {
                "attempt_no": 3, "status": "succeeded", "http_status_code": 200, "error_code": None,
                "error_message": None, "latency_ms": 40.25, "dns_ms": 1.0, "connect_ms": 2.5, "tls_ms": 3.0, "ttfb_ms": 4.0,
                "total_ms": 40.25, "remote_ip": "2606:4700::1111",
                "response_headers": [["Server", "x"], ["Set-Cookie", "***"]], "response_body": "ok\x00ü",
                "created_at": "2026-03-01T12:00:00.123456Z",
            },
        ]
    }  # fmt: skip


@pytest.mark.parametrize("status", UNFINISHED)
def test_cancel_ends_what_has_not_finished(status: Status) -> None:
    task = make_task(status=status)

    shown = document(caller().post(_path(task, "/cancel")))

    assert (shown["task_id"], shown["status"], shown["dead_reason"]) == (str(task.task_id), "dead", "cancelled")
    assert shown["next_attempt_at"] is None
    assert shown["finished_at"] == shown["updated_at"]
    row = _row(task)
    assert (row["status"], row["dead_reason"]) == (Status.DEAD, DeadReason.CANCELLED)
    assert (row["next_attempt_at"], row["lease_token"], row["lease_expires_at"]) == (None, None, None)
    assert row["finished_at"] >= task.created_at


@pytest.mark.parametrize("status", FINISHED)
def test_cancel_changes_nothing_that_has_finished(status: Status) -> None:
    task = make_task(status=status)
    before = _row(task)

    shown = problem(caller().post(_path(task, "/cancel")), 409, "already_finished")

    assert shown["details"] == []
    assert _row(task) == before


def test_a_second_cancel_is_told_so() -> None:
    task, producer = make_task(), caller()

    document(producer.post(_path(task, "/cancel")))

    problem(producer.post(_path(task, "/cancel")), 409, "already_finished")


def test_the_key_that_made_a_task_may_cancel_it() -> None:
    key, plain = make_api_key(scopes=("notify:write",))
    task = make_task(created_by=key)

    assert document(Caller(plain).post(_path(task, "/cancel")))["status"] == "dead"


@pytest.mark.parametrize("made_by_somebody", [True, False], ids=["another-key", "no-key"])
def test_a_writer_may_not_cancel_what_it_did_not_make(made_by_somebody: bool) -> None:
    task = make_task(created_by=make_api_key()[0] if made_by_somebody else None)
    before = _row(task)

    problem(caller(scopes=("notify:write",)).post(_path(task, "/cancel")), 403, "not_own_task")

    assert _row(task) == before


@pytest.mark.parametrize("scopes", [("notify:operate",), ("notify:write", "notify:operate")], ids="+".join)
def test_an_operator_may_cancel_any_task(scopes: tuple[str, ...]) -> None:
    task = make_task(created_by=make_api_key()[0])

    assert document(caller(scopes=scopes).post(_path(task, "/cancel")))["dead_reason"] == "cancelled"


@pytest.mark.parametrize("reason", DeadReason)
def test_requeue_makes_a_dead_task_due_now_with_a_fresh_budget(reason: DeadReason) -> None:
    before = clock.now()
    task = make_task(
        status=Status.DEAD, dead_reason=reason, created_at=before - timedelta(hours=1), attempt_count=10, last_attempt_no=10,
        last_attempt_status="failed", last_attempt_at=AT,
    )  # fmt: skip
    make_attempt(task, 10)

    shown = document(caller().post(_path(task, "/requeue")))

    assert (shown["status"], shown["dead_reason"], shown["finished_at"]) == ("pending", None, None)
    assert shown["next_attempt_at"] == shown["updated_at"]
    assert shown["attempt_count"] == 10
    assert shown["last_attempt"]["attempt_no"] == 10
    row = _row(task)
    assert row["next_attempt_at"] >= before
    assert (row["attempt_count"], row["attempts_before_requeue"]) == (10, 10)
    assert row["expires_at"] == task.expires_at
    assert NotificationAttempt.objects.filter(task=task).count() == 1


def test_requeue_makes_a_failed_task_due_now() -> None:
    now = clock.now()
    task = make_task(status=Status.FAILED, next_attempt_at=now + timedelta(hours=1))

    shown = document(caller().post(_path(task, "/requeue")))

    assert (shown["status"], shown["next_attempt_at"]) == ("pending", shown["updated_at"])
    assert _row(task)["next_attempt_at"] < now + timedelta(minutes=1)


def test_requeue_gives_an_expired_task_its_partners_age_again() -> None:
    now = clock.now()
    task = make_task(
        make_partner(max_age_hours=5), status=Status.DEAD, dead_reason="expired", expires_at=now - timedelta(hours=1)
    )

    document(caller().post(_path(task, "/requeue")))

    row = _row(task)
    assert row["expires_at"] == row["next_attempt_at"] + timedelta(hours=5)


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.SUCCEEDED])
def test_requeue_changes_nothing_else(status: Status) -> None:
    task = make_task(status=status)
    before = _row(task)

    shown = problem(caller().post(_path(task, "/requeue")), 409, "not_requeueable")

    assert status.value in shown["message"]
    assert _row(task) == before


def test_a_requeued_task_can_be_requeued_only_once() -> None:
    task, operator = make_task(status=Status.DEAD), caller()

    document(operator.post(_path(task, "/requeue")))

    problem(operator.post(_path(task, "/requeue")), 409, "not_requeueable")


def test_requeue_leaves_the_task_to_the_key_that_made_it() -> None:
    key, plain = make_api_key(scopes=("notify:write",))
    task = make_task(status=Status.DEAD, created_by=key)
    document(caller().post(_path(task, "/requeue")))

    assert document(Caller(plain).post(_path(task, "/cancel")))["dead_reason"] == "cancelled"


@pytest.mark.parametrize("action", ["/cancel", "/requeue"])
@pytest.mark.parametrize("body", [None, {}], ids=["no-body", "empty-object"])
def test_an_action_needs_no_body(action: str, body: Any) -> None:
    task = make_task(status=Status.FAILED)

    document(caller().post(_path(task, action), body))


@pytest.mark.parametrize("action", ["/cancel", "/requeue"])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        case(b'{"reason": "x"}', "unknown_field", id="unknown-field"),
        case(b"{", "invalid_json", id="broken"),
        case(b"[]", "invalid_request", id="list"),
        case(b"\xff", "invalid_json", id="not-utf-8"),
    ],
)
def test_an_action_with_a_body_that_says_something_is_refused(action: str, raw: bytes, code: str) -> None:
    task = make_task(status=Status.FAILED)
    before = _row(task)

    problem(caller().post(_path(task, action), raw=raw), 400, code)

    assert _row(task) == before


ENDPOINTS = [("GET", ""), ("GET", "/attempts"), ("POST", "/cancel"), ("POST", "/requeue")]


@pytest.mark.parametrize(("method", "action"), ENDPOINTS, ids=str)
@pytest.mark.parametrize(
    "task_id",
    [
        "00000000-0000-7000-8000-000000000000", "00000000-0000-0000-0000-000000000000", "x", "1", "null",
        "'; --", "%00", "%ff", "ü", "a" * 5_000, "..", "０" * 8 + "-0000-7000-8000-000000000000",
    ],
)  # fmt: skip
def test_a_task_that_does_not_exist_is_404(method: str, action: str, task_id: str) -> None:
    make_task()

    answer = caller().send(method, f"/v1/notify/{task_id}{action}")

    shown = problem(answer, 404, "not_found" if "/" in task_id else "task_not_found")
    assert len(shown["message"]) < 300


@pytest.mark.parametrize(("method", "action"), ENDPOINTS, ids=str)
def test_a_task_of_another_partner_is_404_and_stays_as_it_is(method: str, action: str) -> None:
    task = make_task(status=Status.FAILED)
    before = _row(task)
    stranger = caller(partners=(make_partner().partner_id,))

    shown = problem(stranger.send(method, _path(task, action)), 404, "task_not_found")

    assert shown["message"] == f"There is no task '{task.task_id}' that this key may see."
    assert _row(task) == before


@pytest.mark.parametrize(("method", "action"), ENDPOINTS, ids=str)
def test_a_task_of_the_keys_own_partner_is_there(method: str, action: str) -> None:
    task = make_task(status=Status.FAILED)
    reader = caller(partners=(make_partner().partner_id, task.partner.partner_id))

    document(reader.send(method, _path(task, action)))


@pytest.mark.parametrize(
    "spell",
    [
        case(lambda task_id: task_id.hex, id="no-hyphens"),
        case(lambda task_id: f"{{{task_id}}}", id="braces"),
        case(lambda task_id: f"urn:uuid:{task_id}", id="urn"),
        case(lambda task_id: f"{task_id}-", id="trailing-hyphen"),
        case(lambda task_id: f"%20{task_id}", id="blank"),
        case(lambda task_id: str(task_id).replace("-", "", 1), id="one-hyphen-less"),
    ],
)
def test_a_task_id_has_one_spelling(spell: Any) -> None:
    task = make_task()

    problem(caller().get(f"/v1/notify/{spell(task.task_id)}"), 404, "task_not_found")


def test_a_task_id_in_capitals_is_found() -> None:
    task = make_task()

    shown = document(caller().get(f"/v1/notify/{str(task.task_id).upper()}"))

    assert shown["task_id"] == str(task.task_id)


def test_a_key_of_the_database_is_no_task_id() -> None:
    task = make_task()

    problem(caller().get(f"/v1/notify/{task.pk}"), 404, "task_not_found")
    problem(caller().get(f"/v1/notify/{uuid.UUID(int=task.pk)}"), 404, "task_not_found")
