"""One shape for every error of every endpoint, the framework's own included; who may do what; the request's id."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from django.test import Client, RequestFactory
from pytest_django import DjangoAssertNumQueries
from rest_framework import exceptions

from notifier import api_keys, clock
from notifier.api import errors
from notifier.models import ApiKey, NotificationTask, Status
from tests.support.api import PROBLEM_KEYS, Caller, anyone, caller, document, notification, problem
from tests.support.factories import make_api_key, make_partner, make_task
from tests.support.waiting import wait_until
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

WRITE, READ, OPERATE = "notify:write", "notify:read", "notify:operate"
NOWHERE = "/v1/notify/00000000-0000-7000-8000-000000000000"
# method, path, and the scopes any of which is enough
ENDPOINTS = [
    case("POST", "/v1/notify", {WRITE}, id="create"),
    case("GET", "/v1/notify", {READ}, id="list"),
    case("HEAD", "/v1/notify", {READ}, id="list-head"),
    case("GET", NOWHERE, {READ}, id="read"),
    case("HEAD", NOWHERE, {READ}, id="read-head"),
    case("GET", f"{NOWHERE}/attempts", {READ}, id="attempts"),
    case("HEAD", f"{NOWHERE}/attempts", {READ}, id="attempts-head"),
    case("POST", f"{NOWHERE}/cancel", {WRITE, OPERATE}, id="cancel"),
    case("POST", f"{NOWHERE}/requeue", {OPERATE}, id="requeue"),
]


@pytest.mark.parametrize(("method", "path", "scopes"), ENDPOINTS)
def test_without_a_key_nothing_is_done(method: str, path: str, scopes: set[str]) -> None:
    answer = anyone().send(method, path)

    assert answer["WWW-Authenticate"] == 'Bearer realm="notifier"'
    if method == "HEAD":
        assert answer.status_code == 401
    else:
        assert problem(answer, 401, "not_authenticated")["details"] == []


@pytest.mark.parametrize(("method", "path", "scopes"), ENDPOINTS)
@pytest.mark.parametrize("scope", [None, WRITE, READ, OPERATE])
def test_each_endpoint_needs_its_scope(method: str, path: str, scopes: set[str], scope: str | None) -> None:
    answer = caller(scopes=() if scope is None else (scope,)).send(method, path)

    if scope in scopes:
        assert answer.status_code in (200, 400, 404)
    elif method == "HEAD":
        assert answer.status_code == 403
    else:
        shown = problem(answer, 403, "missing_scope")
        assert all(name in shown["message"] for name in scopes)


@pytest.mark.parametrize(
    "scope", ["notify:*", "*", "NOTIFY:WRITE", "notify:write ", "write", "notify:write,notify:read"]
)
def test_an_unknown_scope_opens_nothing(scope: str) -> None:
    problem(caller(scopes=(scope,)).notify(notification(make_partner())), 403, "missing_scope")

    assert NotificationTask.objects.count() == 0


def test_a_key_without_the_scope_is_refused_before_its_request_is_read() -> None:
    problem(caller(scopes=(READ,)).notify(raw=b"{broken"), 403, "missing_scope")


@pytest.mark.parametrize(
    "spell",
    [
        case("Bearer {}", id="contract"), case("bearer {}", id="lower-case"), case("BEARER {}", id="upper-case"),
        case("Bearer  {}", id="two-blanks"), case("Bearer {} ", id="blank-after"),
    ],
)  # fmt: skip
def test_a_key_is_read_from_the_authorization_header(spell: str) -> None:
    _, plain = make_api_key()

    document(anyone().get("/v1/notify", headers={"Authorization": spell.format(plain)}))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        case("", "not_authenticated", id="empty"),
        case("Bearer", "not_authenticated", id="no-key"),
        case("Bearer ", "not_authenticated", id="blank-key"),
        case("Bearer   ", "invalid_api_key", id="blanks"),
        case("{}", "not_authenticated", id="no-scheme"),
        case("Basic {}", "not_authenticated", id="basic"),
        case("Token {}", "not_authenticated", id="token"),
        case("Bearer,{}", "not_authenticated", id="comma"),
        case("Bearer {}x", "invalid_api_key", id="longer"),
        case("Bearer x{}", "invalid_api_key", id="prefixed"),
        case("Bearer {}, Bearer {}", "invalid_api_key", id="two"),
        case("Bearer ntf_unknown", "invalid_api_key", id="unknown"),
        case("Bearer ü€", "invalid_api_key", id="not-ascii"),
        case("Bearer \x00", "invalid_api_key", id="nul"),
        case("Bearer ' OR 1=1 --", "invalid_api_key", id="sql"),
        case("Bearer " + "x" * 10_000, "invalid_api_key", id="long"),
    ],
)
def test_a_bad_key_is_401(header: str, code: str) -> None:
    _, plain = make_api_key()

    answer = anyone().notify(notification(make_partner()), headers={"Authorization": header.replace("{}", plain)})

    problem(answer, 401, code)
    assert answer["WWW-Authenticate"] == 'Bearer realm="notifier"'
    assert plain.encode() not in answer.content
    assert NotificationTask.objects.count() == 0


@pytest.mark.parametrize("change", ["first", "last", "case", "shorter"])
def test_a_key_counts_to_its_last_character(change: str) -> None:
    _, plain = make_api_key()
    other = {
        "first": "N" + plain[1:],
        "last": plain[:-1] + ("A" if plain[-1] != "A" else "B"),
        "case": plain.swapcase(),
        "shorter": plain[:-1],
    }[change]

    problem(Caller(other).get("/v1/notify"), 401, "invalid_api_key")


def test_a_revoked_key_is_401() -> None:
    key, plain = make_api_key()
    document(Caller(plain).get("/v1/notify"))

    api_keys.revoke(key, now=clock.now())

    problem(Caller(plain).get("/v1/notify"), 401, "invalid_api_key")


def test_a_key_that_another_process_revoked_is_401_within_five_seconds() -> None:
    key, plain = make_api_key()
    document(Caller(plain).get("/v1/notify"))

    ApiKey.objects.filter(pk=key.pk).update(revoked_at=clock.now())

    wait_until(lambda: Caller(plain).get("/v1/notify").status_code == 401, seconds=5, what="the key to be refused")


def test_a_key_that_is_used_all_the_time_is_read_now_and_then(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    _, plain = make_api_key()
    Caller(plain).get(NOWHERE)

    with django_assert_max_num_queries(6):  # the task, each time; the key, at most once more in so short a time
        for _ in range(5):
            problem(Caller(plain).get(NOWHERE), 404, "task_not_found")


def test_the_use_of_a_key_is_noted() -> None:
    key, plain = make_api_key()
    before = clock.now()

    document(Caller(plain).get("/v1/notify"))

    used = ApiKey.objects.get(pk=key.pk).last_used_at
    assert used is not None
    assert used >= before


def test_a_key_for_some_partners_may_not_notify_another() -> None:
    own, other = make_partner(), make_partner()
    producer = caller(partners=(own.partner_id,))

    document(producer.notify(notification(own)), 202)
    for partner_id in (other.partner_id, "nobody"):
        shown = problem(producer.notify(notification(other, partner_id=partner_id)), 403, "partner_not_permitted")
        assert partner_id in shown["message"]

    assert NotificationTask.objects.filter(partner=other).count() == 0
    assert NotificationTask.objects.count() == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1", "/v1/", "/v1/x", "/v1/notify/", f"{NOWHERE}/", f"{NOWHERE}/x", f"{NOWHERE}/attempts/", f"{NOWHERE}/cancel/x",
        "/v2/notify", "/x", "/notify", "/V1/notify", "//v1/notify", "/v1//notify", "/v1/schema/", "/%ff", "/ü", "/adminx",
        "/.env", "/v1/notify%2f", "/favicon.ico",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("who", [anyone, caller])
def test_an_unknown_path_is_404(path: str, method: str, who: Any) -> None:
    answer = who().send(method, path)

    assert problem(answer, 404, "not_found")["details"] == []


ALLOWED = [
    ("/v1/notify", {"GET", "HEAD", "OPTIONS", "POST"}),
    (NOWHERE, {"GET", "HEAD", "OPTIONS"}),
    (f"{NOWHERE}/attempts", {"GET", "HEAD", "OPTIONS"}),
    (f"{NOWHERE}/cancel", {"OPTIONS", "POST"}),
    (f"{NOWHERE}/requeue", {"OPTIONS", "POST"}),
]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO"]


@pytest.mark.parametrize(
    ("path", "allowed", "method"),
    [(path, allowed, method) for path, allowed in ALLOWED for method in METHODS if method not in allowed],
    ids=str,
)
def test_another_method_is_405(path: str, allowed: set[str], method: str) -> None:
    make_task()

    answer = caller().send(method, path, {"a": 1})

    assert problem(answer, 405, "method_not_allowed")["details"] == []
    assert {name.strip() for name in answer["Allow"].split(",")} == allowed
    assert NotificationTask.objects.count() == 1


def test_another_method_on_the_schema_is_405() -> None:
    problem(anyone().post("/v1/schema", {}), 405, "method_not_allowed")


def test_a_host_that_is_not_ours_is_400() -> None:
    problem(caller().get("/v1/notify", HTTP_HOST="evil.example"), 400, "invalid_request")


def test_what_nobody_foresaw_is_500_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    # No producer can bring about a JSON body that is not JSON; a hand in the database can.
    task = make_task(body=b"hunter2", body_format="body")

    answer = caller().get(f"/v1/notify/{task.task_id}")

    shown = problem(answer, 500, "internal_error")
    assert shown["message"] == "The notifier failed at this; nothing of it is your fault. Try again."
    assert shown["details"] == []
    assert b"hunter2" not in answer.content
    assert [record.getMessage() for record in caplog.records if record.name == "notifier.api.errors"] == [
        "unexpected error"
    ]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        case(Http404("hunter2"), 404, "not_found", id="django-404"),
        case(exceptions.NotFound("hunter2"), 404, "not_found", id="drf-404"),
        case(PermissionDenied("hunter2"), 403, "forbidden", id="django-403"),
        case(exceptions.PermissionDenied("hunter2"), 403, "forbidden", id="drf-403"),
        case(exceptions.NotAuthenticated("hunter2"), 401, "not_authenticated", id="drf-401"),
        case(exceptions.AuthenticationFailed("hunter2"), 401, "invalid_api_key", id="drf-401-failed"),
        case(exceptions.UnsupportedMediaType("hunter2"), 415, "unsupported_media_type", id="drf-415"),
        case(exceptions.ParseError("hunter2"), 400, "invalid_json", id="drf-400"),
        case(SuspiciousOperation("hunter2"), 400, "invalid_request", id="django-400"),
        case(OperationalError(2006, "hunter2"), 503, "database_unavailable", id="database-away"),
        case(InterfaceError("hunter2"), 503, "database_unavailable", id="connection-lost"),
        case(ValueError("hunter2"), 500, "internal_error", id="unexpected"),
        case(exceptions.APIException("hunter2"), 500, "internal_error", id="unexpected-of-drf"),
    ],
)
def test_an_exception_in_a_view_becomes_its_problem_and_its_text_stays_inside(
    error: Exception, status: int, code: str
) -> None:
    answer = errors.exception_handler(error, {})

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    shown = json.loads(answer.content)
    assert list(shown) == PROBLEM_KEYS
    assert (shown["status"], shown["code"], shown["details"]) == (status, code, [])
    assert b"hunter2" not in answer.content


@pytest.mark.parametrize("error", [OperationalError(2006, "gone"), InterfaceError("closed")])
def test_a_database_that_is_away_is_tried_again_soon(error: Exception) -> None:
    assert errors.exception_handler(error, {})["Retry-After"] == "5"


@pytest.mark.parametrize(("wait", "shown"), [(None, "1"), (0.2, "1"), (1.2, "2"), (7.0, "7")])
def test_too_many_requests_say_when_to_come_again(wait: float | None, shown: str) -> None:
    answer = errors.exception_handler(exceptions.Throttled(wait), {})

    assert (answer.status_code, answer["Retry-After"]) == (429, shown)
    assert json.loads(answer.content)["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("error", "details"),
    [
        case(exceptions.ValidationError("no"), [("", "invalid", "no")], id="sentence"),
        case(exceptions.ValidationError(["no", "nor"]), [("", "invalid", "no"), ("", "invalid", "nor")], id="sentences"),
        case(exceptions.ValidationError({"a": ["no"]}, code="bad"), [("a", "bad", "no")], id="field"),
        case(
            exceptions.ValidationError({"a": [{"b": ["no"]}, {}, {"b": ["nor"]}]}),
            [("a[0].b", "invalid", "no"), ("a[2].b", "invalid", "nor")], id="nested",
        ),
        case(exceptions.ValidationError({"non_field_errors": ["no"]}), [("", "invalid", "no")], id="no-field"),
    ],
)  # fmt: skip
def test_what_a_serializer_refuses_is_told_by_field(error: Exception, details: list[tuple[str, str, str]]) -> None:
    shown = json.loads(errors.exception_handler(error, {}).content)

    assert (shown["status"], shown["code"]) == (400, "invalid_request")
    assert [(entry["field"], entry["code"], entry["message"]) for entry in shown["details"]] == details


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [
        case(
            lambda request: errors.bad_request(request, SuspiciousOperation("hunter2")),
            400,
            "invalid_request",
            id="400",
        ),
        case(
            lambda request: errors.permission_denied(request, PermissionDenied("hunter2")), 403, "forbidden", id="403"
        ),
        case(lambda request: errors.not_found(request, Http404("hunter2")), 404, "not_found", id="404"),
        case(errors.server_error, 500, "internal_error", id="500"),
    ],
)
def test_what_goes_wrong_outside_a_view_has_the_same_shape_except_in_the_admin(
    handler: Any, status: int, code: str
) -> None:
    answer = handler(RequestFactory().get("/adminx"))
    page = handler(RequestFactory().get("/admin/x"))

    answer["X-Request-ID"] = "x"
    problem(answer, status, code)
    assert (page.status_code, page["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert b"hunter2" not in answer.content + page.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/", 200),
        ("/v1/schema", 200),
        ("/v1/docs", 200),
        ("/v1/notify", 401),
        ("/x", 404),
        ("/admin/", 302),
    ],
)
def test_every_answer_has_a_request_id_of_its_own(path: str, status: int) -> None:
    first, second = anyone().get(path), anyone().get(path)

    assert [first.status_code, second.status_code] == [status, status]
    assert uuid.UUID(first["X-Request-ID"]) != uuid.UUID(second["X-Request-ID"])


@pytest.mark.parametrize("given", ["a", "A.b_c:d/e+f=g@h-1", "x" * 128, "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"])
@pytest.mark.parametrize("path", ["/v1/notify", "/healthz", "/x"])
def test_a_sane_request_id_is_the_callers(given: str, path: str) -> None:
    assert caller().get(path, headers={"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "a b", "a\tb", "a\x00", "a\x7f", "ü", "<script>", "a;b", '"a"', "x" * 129, "a\n"]
)
def test_another_request_id_is_replaced(given: str) -> None:
    answer = caller().get("/v1/notify", headers={"X-Request-ID": given})

    assert str(uuid.UUID(answer["X-Request-ID"])) == answer["X-Request-ID"]


def test_every_kind_of_error_has_a_request_id() -> None:
    partner, producer = make_partner(), caller()
    broken = make_task(partner, body=b"{", body_format="body", status=Status.DEAD)
    given = {"X-Request-ID": "mine"}

    answers = {
        400: producer.notify(raw=b"{", headers=given),
        401: anyone().get("/v1/notify", headers=given),
        403: caller(scopes=()).get("/v1/notify", headers=given),
        404: producer.get("/x", headers=given),
        405: producer.send("PUT", "/v1/notify", headers=given),
        409: producer.post(f"/v1/notify/{broken.task_id}/cancel", headers=given),
        411: producer.notify({}, headers=given | {"Transfer-Encoding": "chunked"}),
        413: producer.notify(raw=b"x" * 300_000, headers=given),
        415: producer.notify({}, content_type="text/plain", headers=given),
        422: producer.notify(notification(partner, target_url="https://other.example/"), headers=given),
        500: producer.get(f"/v1/notify/{broken.task_id}", headers=given),
    }

    assert {status: answer.status_code for status, answer in answers.items()} == {status: status for status in answers}
    assert {answer["X-Request-ID"] for answer in answers.values()} == {"mine"}


def test_a_session_of_the_admin_is_no_key(django_user_model: Any) -> None:
    client = Client()
    client.force_login(django_user_model.objects.create(username="root", is_staff=True, is_superuser=True))

    problem(client.get("/v1/notify"), 401, "not_authenticated")
