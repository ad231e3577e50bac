"""Headers of every answer, the admin's login, cookies, and what is never told."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client

from tests.support.api import anyone, caller, problem
from tests.support.factories import make_partner, make_task
from tests.support.staff import superuser

pytestmark = pytest.mark.django_db

PAGES = [
    "/", "/healthz", "/readyz", "/metrics", "/v1/docs", "/v1/docs?script=", "/v1/schema", "/v1/notify", "/v1/nowhere",
    "/nowhere", "/admin/login/", "/admin/nowhere/", "/static/nowhere.js", "/static/notifier/admin.css",
]  # fmt: skip
LOGIN = "/admin/login/"
PASSWORD = "correct horse battery staple"


def _directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (entry.split() for entry in policy.split(";") if entry.strip())}


@pytest.mark.parametrize("page", PAGES)
def test_every_answer_has_a_policy_without_inline_code_or_other_hosts(page: str) -> None:
    answer = anyone().get(page, secure=True)
    answer.close()

    policy = _directives(answer["Content-Security-Policy"])
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    # The admin's theme compiles its menus' expressions and writes its colours inline; nothing else may.
    theme = {"'unsafe-eval'", "'unsafe-inline'"} if page.startswith("/admin/") else set()
    assert {value for values in policy.values() for value in values} == {"'none'", "'self'", "data:"} | theme
    assert [name for name, values in policy.items() if "'unsafe-eval'" in values] == (["script-src"] if theme else [])
    assert [name for name, values in policy.items() if "'unsafe-inline'" in values] == (["style-src"] if theme else [])
    assert [name for name, values in policy.items() if "data:" in values] == ["img-src"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


@pytest.mark.parametrize(
    "refused",
    [
        lambda: anyone().post("/v1/notify", {}, headers={"Transfer-Encoding": "chunked"}),
        lambda: anyone().post("/v1/notify", raw=b"x" * 300_000),
        lambda: anyone().get("/v1/notify", headers={"Host": "evil.example"}),
        lambda: caller().post("/v1/notify", {}),
    ],
    ids=["chunked", "too-large", "other-host", "malformed"],
)
def test_what_is_refused_has_it_too(refused: Any) -> None:
    answer = refused()

    assert 400 <= answer.status_code < 500
    assert "Content-Security-Policy" in answer
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_pages_have_no_inline_script_or_style() -> None:
    task, admin = make_task(), superuser()
    model = "/admin/notifier"
    pages = [
        "/", "/v1/docs", "/admin/", f"{model}/notificationtask/", f"{model}/notificationtask/{task.pk}/change/", f"{model}/partner/",
        f"{model}/partner/{task.partner_id}/change/", f"{model}/apikey/", f"{model}/apikey/add/", f"{model}/auditentry/",
    ]  # fmt: skip

    for page in pages:
        text = admin.get(page).content.decode()
        theme = '<style id="unfold-theme-colors">' if page.startswith("/admin/") else None
        assert re.findall(r"<style[^>]*>|\son[a-z]+=\"|javascript:", text) == ([theme] if theme else []), page
        scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", text)
        assert [tag for tag in scripts if "application/json" not in tag] == [], page
        assert not re.findall(r"(?:src|href)=\"https?://", text), page


def test_no_version_is_told() -> None:
    for page in PAGES:
        if page != "/metrics":  # documented: it is kept to one's own network
            answer = anyone().get(page)
            content = answer.getvalue()
            answer.close()
            assert "Server" not in answer
            assert "X-Powered-By" not in answer
            assert not re.search(rb"(?i)(django|python|granian)[/ ]\d", content), page


def _log_in(client: Client, password: str, *, name: str = "root", address: str = "198.51.100.7") -> Any:
    data = {"username": name, "password": password}
    return client.post(LOGIN, data, REMOTE_ADDR=address, secure=True)


@pytest.fixture
def person() -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


def test_a_login_works_and_its_cookies_are_for_https_and_not_for_scripts(person: User) -> None:
    answer = _log_in(Client(), PASSWORD)

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert set(answer.cookies) == {"sessionid", "csrftoken"}
    for cookie in answer.cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert answer.cookies["sessionid"]["expires"] == ""


def test_after_five_failures_even_the_right_password_waits(person: User) -> None:
    client = Client()
    codes = [_log_in(client, "wrong").status_code for _ in range(5)]

    answer = _log_in(client, PASSWORD)

    assert codes == [200] * 4 + [429]
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "Too many failed logins" in answer.content.decode()
    assert "sessionid" not in answer.cookies
    assert "wrong" not in str(AccessAttempt.objects.values())
    assert PASSWORD not in str(AccessAttempt.objects.values())


def test_the_pause_ends_by_itself(person: User) -> None:
    for _ in range(5):
        _log_in(Client(), "wrong")
    (attempt,) = AccessAttempt.objects.all()
    AccessAttempt.objects.update(attempt_time=attempt.attempt_time - timedelta(seconds=901))

    assert _log_in(Client(), PASSWORD).status_code == 302


def test_nobody_locks_an_operator_out_from_another_address(person: User) -> None:
    for _ in range(9):
        _log_in(Client(), "wrong", address="203.0.113.66")

    assert _log_in(Client(), PASSWORD).status_code == 302


def test_a_name_that_does_not_exist_is_answered_the_same(person: User) -> None:
    answers = {name: [_log_in(Client(), "wrong", name=name) for _ in range(6)] for name in ("root", "nobody")}

    pages = {
        name: [(answer.status_code, re.sub(rb'value="[^"]*"', b"", answer.content)) for answer in found]
        for name, found in answers.items()
    }
    assert pages["root"] == pages["nobody"]


def test_an_invented_forwarded_address_does_not_help_to_go_on_guessing(person: User) -> None:
    codes = [
        Client()
        .post(LOGIN, {"username": "root", "password": "wrong"}, headers={"X-Forwarded-For": f"203.0.113.{number}"})
        .status_code
        for number in range(6)
    ]

    assert codes[-1] == 429


def test_too_many_or_too_large_headers_are_refused_before_anything_else() -> None:
    producer, partner = caller(), make_partner()
    many = {f"X-Header-{number}": "x" for number in range(101)}
    large = {"X-Large": "x" * (32 * 1024)}

    for headers in (many, large):
        answer = producer.notify({"partner_id": partner.partner_id}, headers=headers)
        problem(answer, 431, "headers_too_large")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[" * 200_000, "too_deep"),
        (b'{"a":' * 40_000, "too_deep"),
        (b'{"a": "' + b"[" * 200_000 + b'"}', "unknown_field"),
        (b'{"a": "\\"' + b"[" * 1000 + b'"}', "unknown_field"),
        (b'{"a": "' + b"[" * 1000, "invalid_json"),
        (b"[]" * 1000, "invalid_json"),
        (b'{"a": [' + b"[],[]," * 1000 + b"0]}", "unknown_field"),
    ],
)
def test_nesting_is_counted_before_it_is_parsed(raw: bytes, code: str) -> None:
    problem(caller().notify(raw=raw), 400, code if code != "unknown_field" else "invalid_request")
