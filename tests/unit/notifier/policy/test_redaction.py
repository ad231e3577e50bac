from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.redaction import (
    MASK,
    is_sensitive,
    masked,
    response_headers,
    response_headers_of_sealed,
    scrub,
)
from tests.unit.cases import case


@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"])
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, str.swapcase])
def test_credentials_are_sensitive_in_anycase(name: str, spell: Any) -> None:
    assert is_sensitive(spell(name))


@pytest.mark.parametrize(
    "name", ["X-Authorization", "Authorization2", "Cookies", "X-Api-Keys", "Content-Type", "Set-Cookie", "", " cookie"]
)
def test_other_names_are_not_sensitive(name: str) -> None:
    assert not is_sensitive(name)


@pytest.mark.parametrize("name", ["X-Token", "x-token", "X-TOKEN"])
@pytest.mark.parametrize("extra", [("X-Token",), ("x-token",), ["X-Other", "X-TOKEN"], {"x-ToKeN"}])
def test_the_setting_adds_names_in_anycase(name: str, extra: Any) -> None:
    assert is_sensitive(name, extra)
    assert not is_sensitive(name + "s", extra)


def test_masked_hides_whole_values_and_keeps_the_rest_in_order() -> None:
    given = {"X-B": "b", "authorization": "Bearer x", "X-A": "a", "X-Token": "", "Cookie": "c=1"}

    shown = masked(given, ["x-token"])

    assert list(shown.items()) == [
        ("X-B", "b"), ("authorization", MASK), ("X-A", "a"), ("X-Token", MASK), ("Cookie", MASK),
    ]  # fmt: skip
    assert given["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        case("a token1 b token1", ["token1"], "a *** b ***", id="each-time"),
        case("token1token2", ["token1", "token2"], "******", id="each-of-them"),
        case("TOKEN1", ["token1"], "TOKEN1", id="case-counts"),
        case("abc", ["abc"], "abc", id="three-characters-are-no-secret"),
        case("abcd", ["abcd"], "***", id="four-characters-are"),
        case("nothing", [], "nothing", id="no-secrets"),
        case("", ["token1"], "", id="no-text"),
        case("x", [""], "x", id="empty-secret"),
        case("token12345", ["token1", "token12345"], "***", id="one-begins-the-other"),
        case("12345token", ["token", "12345token"], "***", id="one-ends-the-other"),
        case("Bearer token1", ["Bearer token1", "token1"], "***", id="with-its-scheme"),
        case("tok\nen1", ["tok\nen1"], "***", id="line-break"),
        case("Grüße", ["Grüße"], "***", id="not-ascii"),
    ],
)
def test_scrub(text: str, secrets: list[str], shown: str) -> None:
    assert scrub(text, secrets) == shown


@given(st.text("ab*", max_size=30), st.lists(st.text("ab", min_size=4, max_size=8), max_size=3))
def test_no_secret_survives_scrubbing(text: str, secrets: list[str]) -> None:
    shown = scrub(text, secrets)

    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie", "set-cookie2", "WWW-Authenticate", "Authorization", "proxy-authorization", "Cookie", "X-API-KEY",
    ],
)  # fmt: skip
def test_response_headers_mask_credentials(name: str) -> None:
    assert response_headers([(name, "hunter2")], secrets=(), max_bytes=100) == [[name, "***"]]


def test_response_headers_lose_echoed_secrets_and_keep_order_and_repetition() -> None:
    headers = [("X-Echo", "got hunter2!"), ("Server", "x"), ("Via", "1"), ("Via", "2")]

    kept = response_headers(headers, secrets=["hunter2"], max_bytes=100)

    assert kept == [["X-Echo", "got ***!"], ["Server", "x"], ["Via", "1"], ["Via", "2"]]


@pytest.mark.parametrize(
    ("max_bytes", "count"),
    [case(0, 0, id="nothing"), case(3, 0, id="not-one"), case(4, 1, id="exactly-one"), case(7, 1, id="one"),
     case(8, 2, id="exactly-two"), case(12, 3, id="all"), case(1000, 3, id="more-than-all")],
)  # fmt: skip
def test_response_headers_are_cut_at_whole_headers(max_bytes: int, count: int) -> None:
    headers = [("AA", "11"), ("BB", "22"), ("CC", "33")]

    kept = response_headers(headers, secrets=(), max_bytes=max_bytes)

    assert kept == [["AA", "11"], ["BB", "22"], ["CC", "33"]][:count]


def test_response_headers_count_what_is_kept_not_what_came() -> None:
    headers = [("Set-Cookie", "x" * 10_000), ("A", "1")]

    assert response_headers(headers, secrets=(), max_bytes=15) == [["Set-Cookie", "***"], ["A", "1"]]


def test_of_an_answer_to_a_sealed_body_only_numbers_are_kept() -> None:
    headers = [
        ("Content-Length", "12"), ("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"), ("X-Echo", "4711"), ("retry-after", "5"),
        ("Content-Length", "1" * 11),
    ]  # fmt: skip

    assert response_headers_of_sealed(headers, max_bytes=100) == [["Content-Length", "12"], ["retry-after", "5"]]
