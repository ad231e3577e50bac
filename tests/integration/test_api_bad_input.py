"""Bodies and requests that cannot be read: each answers its documented 4xx, and leaves no row."""

from __future__ import annotations

import json
import time
from io import BytesIO
from typing import Any

import pytest
from django.conf import settings

from notifier.models import NotificationTask
from tests.support.api import Answer, Caller, caller, malformed, nothing_stored, notification, problem
from tests.support.factories import make_partner
from tests.unit.cases import case

pytestmark = pytest.mark.django_db


def _raw(body: bytes, **how: Any) -> Answer:
    make_partner(partner_id="acme")
    return caller().notify(raw=body, **how)


SMALLEST = b'"partner_id": "acme", "target_url": "https://hooks.example.com/in"'


def test_the_smallest_request_of_this_table_is_good() -> None:
    assert _raw(b"{" + SMALLEST + b"}").status_code == 202
    assert NotificationTask.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        # broken JSON
        case(b" ", "invalid_json", id="blank"),
        case(b"{", "invalid_json", id="open"),
        case(b"}", "invalid_json", id="closed"),
        case(b"{" + SMALLEST, "invalid_json", id="not-closed"),
        case(b"{" + SMALLEST + b"}}", "invalid_json", id="closed-twice"),
        case(b"{" + SMALLEST + b"} {}", "invalid_json", id="two-documents"),
        case(b"{" + SMALLEST + b",}", "invalid_json", id="trailing-comma"),
        case(b"{" + SMALLEST + b', "body": [1,]}', "invalid_json", id="trailing-comma-in-a-list"),
        case(b"{" + SMALLEST + b', "body": [1 2]}', "invalid_json", id="missing-comma"),
        case(b"{" + SMALLEST.replace(b":", b"=", 1) + b"}", "invalid_json", id="equals-sign"),
        case(b"{" + SMALLEST.replace(b'"', b"'") + b"}", "invalid_json", id="single-quotes"),
        case(b"{" + SMALLEST.replace(b'"partner_id"', b"partner_id") + b"}", "invalid_json", id="bare-name"),
        case(b"{" + SMALLEST + b', "body": undefined}', "invalid_json", id="undefined"),
        case(b"{" + SMALLEST + b', "body": None}', "invalid_json", id="none"),
        case(b"{" + SMALLEST + b', "body": True}', "invalid_json", id="python-true"),
        case(b"{" + SMALLEST + b', "body": /* x */ 1}', "invalid_json", id="comment"),
        case(b"{" + SMALLEST + b', "body": 1} // x', "invalid_json", id="line-comment"),
        case(b"\x00{" + SMALLEST + b"}", "invalid_json", id="nul-before"),
        case(b"{" + SMALLEST + b"}\x00", "invalid_json", id="nul-after"),
        case(b"\xc2\xa0{" + SMALLEST + b"}", "invalid_json", id="other-blank"),
        case(b"partner_id=acme", "invalid_json", id="form"),
        case(b"<notify/>", "invalid_json", id="xml"),
        case(b")]}'\n{" + SMALLEST + b"}", "invalid_json", id="prefix"),
        # strings
        case(b"{" + SMALLEST + b', "body": "a\nb"}', "invalid_json", id="raw-line-feed"),
        case(b"{" + SMALLEST + b', "body": "a\x00b"}', "invalid_json", id="raw-nul"),
        case(b"{" + SMALLEST + b', "body": "a\x1fb"}', "invalid_json", id="raw-control"),
        case(b"{" + SMALLEST + b', "body": "a\\x41"}', "invalid_json", id="unknown-escape"),
        case(b"{" + SMALLEST + b', "body": "\\u12"}', "invalid_json", id="short-escape"),
        case(b"{" + SMALLEST + b', "body": "\\u12g4"}', "invalid_json", id="bad-escape"),
        case(b"{" + SMALLEST + b', "body": "\\ud800"}', "invalid_json", id="high-surrogate"),
        case(b"{" + SMALLEST + b', "body": "\\udc00"}', "invalid_json", id="low-surrogate"),
        case(b"{" + SMALLEST + b', "body": "\\udc00\\ud800"}', "invalid_json", id="surrogates-swapped"),
        case(b"{" + SMALLEST + b', "body": "\\ud800\\ud800"}', "invalid_json", id="two-high-surrogates"),
        case(b"{" + SMALLEST + b', "body": {"\\ud800": 1}}', "invalid_json", id="surrogate-in-a-name"),
        case(b"{" + SMALLEST + b', "body": [[["\\ud800"]]]}', "invalid_json", id="surrogate-deep-inside"),
        case(b"{" + SMALLEST + b', "idempotency_key": "\\ud800"}', "invalid_json", id="surrogate-in-a-key"),
        case(b"{" + SMALLEST + b', "\\ud800": 1}', "invalid_json", id="surrogate-in-a-field-name"),
        # broken UTF-8, other encodings
        case(b"{" + SMALLEST + b', "body": "\xff"}', "invalid_json", id="byte-ff"),
        case(b"{" + SMALLEST + b', "body": "\xe4"}', "invalid_json", id="latin-1"),
        case(b"{" + SMALLEST + b', "body": "\xc3"}', "invalid_json", id="half-a-character"),
        case(b"{" + SMALLEST + b', "body": "\xc0\xaf"}', "invalid_json", id="overlong"),
        case(b"{" + SMALLEST + b', "body": "\xed\xa0\x80"}', "invalid_json", id="encoded-surrogate"),
        case(b"{" + SMALLEST + b', "body": "\xf5\x80\x80\x80"}', "invalid_json", id="beyond-unicode"),
        case(b"\xff\xfe" + ("{" + SMALLEST.decode() + "}").encode("utf-16-le"), "invalid_json", id="utf-16-with-mark"),
        case(("{" + SMALLEST.decode() + "}").encode("utf-16-le"), "invalid_json", id="utf-16"),
        case(("{" + SMALLEST.decode() + "}").encode("utf-32-be"), "invalid_json", id="utf-32"),
        case(b"\x1f\x8b\x08\x00", "invalid_json", id="gzip"),
        # numbers
        case(b"{" + SMALLEST + b', "body": NaN}', "invalid_json", id="nan"),
        case(b"{" + SMALLEST + b', "body": [{"a": NaN}]}', "invalid_json", id="nan-inside"),
        case(b"{" + SMALLEST + b', "body": Infinity}', "invalid_json", id="infinity"),
        case(b"{" + SMALLEST + b', "body": -Infinity}', "invalid_json", id="minus-infinity"),
        case(b"{" + SMALLEST + b', "priority": NaN}', "invalid_json", id="nan-as-a-priority"),
        case(b"{" + SMALLEST + b', "body": 01}', "invalid_json", id="leading-zero"),
        case(b"{" + SMALLEST + b', "body": +1}', "invalid_json", id="plus"),
        case(b"{" + SMALLEST + b', "body": .5}', "invalid_json", id="no-integer-part"),
        case(b"{" + SMALLEST + b', "body": 5.}', "invalid_json", id="no-fraction"),
        case(b"{" + SMALLEST + b', "body": 1e}', "invalid_json", id="no-exponent"),
        case(b"{" + SMALLEST + b', "body": 0x10}', "invalid_json", id="hexadecimal"),
        case(b"{" + SMALLEST + b', "body": 1_000}', "invalid_json", id="underscore"),
        case(b"{" + SMALLEST + ', "body": １}'.encode(), "invalid_json", id="full-width-digit"),
        case(b"{" + SMALLEST + b', "body": ' + b"9" * 4_301 + b"}", "invalid_json", id="4301-digits"),
        case(b"{" + SMALLEST + b', "body": -' + b"9" * 200_000 + b"}", "invalid_json", id="200000-digits"),
        case(b"{" + SMALLEST + b', "priority": ' + b"9" * 5_000 + b"}", "invalid_json", id="5000-digits-as-a-priority"),
        case(b"{" + SMALLEST + b', "body": 1e999999999999999999999}', "invalid_json", id="exponent-of-21-digits"),
        case(
            b"{" + SMALLEST + b', "body": 1e-999999999999999999999}', "invalid_json", id="exponent-of-minus-21-digits"
        ),
        # nesting
        case(b"{" + SMALLEST + b', "body": ' + b"[" * 64 + b"]" * 64 + b"}", "too_deep", id="65-levels"),
        case(
            b"{" + SMALLEST + b', "body": ' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}",
            "too_deep",
            id="65-levels-of-objects",
        ),
        case(
            b"{" + SMALLEST + b', "x": ' + b"[" * 64 + b"]" * 64 + b"}", "too_deep", id="65-levels-in-an-unknown-field"
        ),
        case(b"[" * 100_000, "too_deep", id="100000-lists"),
        case(b'{"a":' * 40_000, "too_deep", id="40000-objects"),
        case(b"[" * 100_000 + b"]" * 100_000, "too_deep", id="100000-lists-closed"),
        # duplicate names
        case(b"{" + SMALLEST + b', "partner_id": "other"}', "duplicate_name", id="duplicate-field"),
        case(b"{" + SMALLEST + b', "partner_id": "acme"}', "duplicate_name", id="duplicate-field-same-value"),
        case(b"{" + SMALLEST + b', "headers": {"A": "1", "A": "2"}}', "duplicate_name", id="duplicate-header"),
        case(b"{" + SMALLEST + b', "body": {"a": {"b": 1, "b": 1}}}', "duplicate_name", id="duplicate-in-the-body"),
        case(b"{" + SMALLEST + b', "body": {"a": 1, "\\u0061": 2}}', "duplicate_name", id="duplicate-by-an-escape"),
        # something else than an object
        case(b"null", "invalid_request", id="null"),
        case(b"true", "invalid_request", id="true"),
        case(b"1", "invalid_request", id="number"),
        case(b'"{}"', "invalid_request", id="string"),
        case(b"[]", "invalid_request", id="list"),
        case(b"[{" + SMALLEST + b"}]", "invalid_request", id="list-of-one"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, code: str) -> None:
    sentence = malformed(_raw(body), code, "", code)

    assert sentence.startswith("The body is not JSON that can be accepted: ")
    assert len(sentence) < 250


@pytest.mark.parametrize("body", [b"", b"{}"], ids=["nothing", "empty-object"])
def test_an_empty_request_is_refused_naming_what_is_missing(body: bytes) -> None:
    shown = problem(_raw(body), 400, "invalid_request")

    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [
        ("partner_id", "required"),
        ("target_url", "required"),
    ]
    nothing_stored()


def test_duplicates_at_the_end_of_many_names_are_refused_at_once() -> None:
    names = [f'"{number:x}":0' for number in range(28_000)]
    body = ("{" + ",".join(names + names[-500:]) + "}").encode()
    assert len(body) < settings.NOTIFIER_MAX_BODY_BYTES

    started = time.process_time()
    answer = _raw(body)

    # It took 7 s when each name was counted in all the names.
    assert time.process_time() - started < 2
    malformed(answer, "duplicate_name", "", "duplicate_name")


@pytest.mark.parametrize(
    "content_type",
    [
        "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
        "text/json", "application/problem+json", "application/json-patch+json", "application/jsonx", "application", "json",
        "application/json; charset=latin-1", "application/json; charset=utf-16", 'application/json; charset="utf-7"',
        "application/json, text/plain", "application/json\x00", "*/*", "ä/ö",
    ],
)  # fmt: skip
def test_another_content_type_is_refused(content_type: str) -> None:
    answer = caller().notify(notification(make_partner()), content_type=content_type)

    shown = problem(answer, 415, "unsupported_media_type")
    assert shown["details"] == []
    nothing_stored()


@pytest.mark.parametrize(
    "size", [settings.NOTIFIER_MAX_BODY_BYTES + 1, 10 * 1024 * 1024], ids=["a-byte-too-much", "10-MiB"]
)
def test_a_body_that_is_too_large_is_refused(size: int) -> None:
    answer = caller().notify(raw=b'{"body_text": "'.ljust(size - 2, b"x") + b'"}')

    shown = problem(answer, 413, "payload_too_large")
    assert shown["message"] == f"The body is {size} bytes; at most {settings.NOTIFIER_MAX_BODY_BYTES} are accepted."
    nothing_stored()


class _Unreadable:
    """A request body that fails whoever reads it."""

    def read(self, *args: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = read


def test_a_body_that_is_too_large_is_not_read() -> None:
    unread = {"wsgi.input": _Unreadable(), "CONTENT_LENGTH": str(10 * 1024 * 1024)}

    problem(caller().notify(raw=b"", **unread), 413, "payload_too_large")


def test_a_body_that_is_too_large_is_refused_before_the_key_is_looked_at() -> None:
    problem(Caller("ntf_unknown").notify(raw=b"x" * (settings.NOTIFIER_MAX_BODY_BYTES + 1)), 413, "payload_too_large")


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "gzip, chunked"])
def test_a_body_of_unknown_length_is_refused(coding: str) -> None:
    answer = caller().notify(notification(make_partner()), headers={"Transfer-Encoding": coding})

    problem(answer, 411, "length_required")
    nothing_stored()


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "0x10", "1e3", " ", "1 2", "１", "9" * 30 + "x"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    problem(caller().notify(notification(make_partner()), CONTENT_LENGTH=length), 400, "invalid_request")

    nothing_stored()


@pytest.mark.parametrize("digits", [20, 4_301, 100_000])
def test_a_length_of_any_number_of_digits_is_too_large(digits: int) -> None:
    problem(caller().notify(raw=b"{}", CONTENT_LENGTH="9" * digits), 413, "payload_too_large")

    nothing_stored()


@pytest.mark.parametrize("length", ["", "0"])
def test_a_body_without_a_length_is_no_body(length: str) -> None:
    answer = caller().notify(notification(make_partner()), CONTENT_LENGTH=length)

    assert len(problem(answer, 400, "invalid_request")["details"]) == 2
    nothing_stored()


def test_a_body_that_is_shorter_than_its_length_is_broken_json() -> None:
    body = json.dumps(notification(make_partner(), body="x" * 100)).encode()

    answer = caller().notify(raw=body, **{"wsgi.input": BytesIO(body[:80])})

    malformed(answer, "invalid_json", "", "invalid_json")
