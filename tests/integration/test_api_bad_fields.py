"""Bad values in POST /v1/notify, field by field: each answers 400, names the field, and leaves no row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import caller, malformed, nothing_stored, notification, problem
from tests.support.factories import URL, make_partner
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

NO_STRINGS: dict[str, Any] = {
    "null": None,
    "true": True,
    "integer": 5,
    "float": 1.5,
    "list": ["POST"],
    "object": {"a": "b"},
}
NO_OBJECTS: dict[str, Any] = {"null": None, "true": True, "integer": 5, "float": 1.5, "list": [], "string": "{}"}
NO_INTEGERS: dict[str, Any] = {
    "null": None, "true": True, "false": False, "float": 1.5, "whole-float": 5.0, "string": "5", "empty-string": "",
    "list": [5], "object": {},
}  # fmt: skip


def _types(field: str, values: dict[str, Any]) -> list[Any]:
    return [
        case(field, value, "null" if value is None else "invalid_type", id=f"{field}-{name}")
        for name, value in values.items()
    ]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        *_types("partner_id", NO_STRINGS),
        *_types("target_url", NO_STRINGS),
        *_types("method", NO_STRINGS),
        *_types("body_text", NO_STRINGS),
        *_types("body_base64", NO_STRINGS),
        *_types("idempotency_key", NO_STRINGS),
        *_types("success_condition", NO_STRINGS),
        *_types("deliver_at", NO_STRINGS),
        *_types("expires_at", NO_STRINGS),
        *_types("priority", NO_INTEGERS),
        *_types("max_attempts", NO_INTEGERS),
        *_types("metadata", NO_OBJECTS),
        *[
            case("headers", value, "null" if value is None else "invalid_header", id=f"headers-{name}")
            for name, value in NO_OBJECTS.items()
        ],
    ],
)
def test_a_value_of_another_type_is_refused(field: str, value: Any, code: str) -> None:
    answer = caller().notify(notification(make_partner()) | {field: value})

    malformed(answer, "invalid_request", field, code)


@pytest.mark.parametrize("field", ["partner_id", "target_url"])
def test_a_required_field_must_be_there(field: str) -> None:
    asked = notification(make_partner())
    del asked[field]

    malformed(caller().notify(asked), "invalid_request", field, "required")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        # partner_id
        case("partner_id", "", "too_short", id="partner-empty"),
        case("partner_id", "a" * 65, "too_long", id="partner-65-characters"),
        case("partner_id", "a b", "invalid", id="partner-blank"),
        case("partner_id", " a", "invalid", id="partner-blank-before"),
        case("partner_id", "a ", "invalid", id="partner-blank-after"),
        case("partner_id", "a/b", "invalid", id="partner-slash"),
        case("partner_id", "a%2e", "invalid", id="partner-percent"),
        case("partner_id", "a\n", "invalid", id="partner-line-feed"),
        case("partner_id", "a\x00", "invalid", id="partner-nul"),
        case("partner_id", "ä", "invalid", id="partner-not-ascii"),
        case("partner_id", "a٣", "invalid", id="partner-arabic-digit"),
        case("partner_id", "'; DROP TABLE notifier_partner; --", "invalid", id="partner-sql"),
        # target_url: the table of all kinds is that of tests/unit/notifier/policy/test_destination.py
        case("target_url", "", "invalid_url", id="url-empty"),
        case("target_url", "x", "invalid_url", id="url-word"),
        case("target_url", "/in", "invalid_url", id="url-path"),
        case("target_url", "http://", "invalid_url", id="url-hostless"),
        case("target_url", "http:///in", "invalid_url", id="url-hostless-with-path"),
        case("target_url", "https://:443/", "invalid_url", id="url-hostless-with-port"),
        case("target_url", "http://a@b/", "invalid_url", id="url-user"),
        case("target_url", "http://a:b@b/", "invalid_url", id="url-user-and-password"),
        case("target_url", "http://[::1", "invalid_url", id="url-bracket"),
        case("target_url", "http://[::1%eth0]/", "invalid_url", id="url-zone"),
        case("target_url", "http://münchen.example/", "invalid_url", id="url-unicode-host"),
        case("target_url", "http://ｅｘａｍｐｌｅ.com/", "invalid_url", id="url-full-width-host"),
        case("target_url", "http://2130706433/", "invalid_url", id="url-decimal-address"),
        case("target_url", "http://0x7f.1/", "invalid_url", id="url-short-address"),
        case("target_url", "ftp://hooks.example.com/", "invalid_url", id="url-scheme"),
        case("target_url", "javascript:alert(1)", "invalid_url", id="url-javascript"),
        case("target_url", "http://hooks.example.com/#a", "invalid_url", id="url-fragment"),
        case("target_url", "http://hooks.example.com/a b", "invalid_url", id="url-blank"),
        case("target_url", "http://hooks.example.com/\r\nX: y", "invalid_url", id="url-line-break"),
        case("target_url", "http://hooks.example.com\\@other/", "invalid_url", id="url-backslash"),
        case("target_url", "http://hooks.example.com/%", "invalid_url", id="url-percent"),
        case("target_url", "http://hooks.example.com:99999/", "invalid_url", id="url-port"),
        case("target_url", URL.ljust(2049, "a"), "too_long", id="url-2049-characters"),
        case("target_url", "http://hooks.example.com/" + "ü" * 500, "invalid_url", id="url-2049-once-encoded"),
        case("target_url", "a" * 200_000, "too_long", id="url-200000-characters"),
        # method
        case("method", "", "invalid_choice", id="method-empty"),
        case("method", "post", "invalid_choice", id="method-lower-case"),
        case("method", "POST ", "invalid_choice", id="method-blank"),
        case("method", "OPTIONS", "invalid_choice", id="method-options"),
        case("method", "TRACE", "invalid_choice", id="method-trace"),
        case("method", "CONNECT", "invalid_choice", id="method-connect"),
        case("method", "GET / HTTP/1.1\r\nX: y", "invalid_choice", id="method-injection"),
        case("method", "Ｐ", "invalid_choice", id="method-full-width"),
        # headers: the table of all kinds is that of tests/unit/notifier/policy/test_header_rules.py
        case("headers", {"": "a"}, "invalid_header", id="headers-empty-name"),
        case("headers", {"X A": "a"}, "invalid_header", id="headers-blank-in-name"),
        case("headers", {"X\r\nY": "a"}, "invalid_header", id="headers-line-break-in-name"),
        case("headers", {"Ü": "a"}, "invalid_header", id="headers-name-not-ascii"),
        case("headers", {"X": "a\r\nY: b"}, "invalid_header", id="headers-line-break"),
        case("headers", {"X": "a\x00"}, "invalid_header", id="headers-nul"),
        case("headers", {"X": "€"}, "invalid_header", id="headers-outside-latin-1"),
        case("headers", {"X": " a"}, "invalid_header", id="headers-blank-before"),
        case("headers", {"X": 1}, "invalid_header", id="headers-number"),
        case("headers", {"X": None}, "invalid_header", id="headers-null-value"),
        case("headers", {"X": ["a"]}, "invalid_header", id="headers-list-value"),
        case("headers", {"X": "a", "x": "b"}, "invalid_header", id="headers-twice"),
        case("headers", {"Host": "a"}, "invalid_header", id="headers-host"),
        case("headers", {"content-length": "1"}, "invalid_header", id="headers-content-length"),
        case("headers", {"Transfer-Encoding": "chunked"}, "invalid_header", id="headers-transfer-encoding"),
        case("headers", {"Connection": "close"}, "invalid_header", id="headers-connection"),
        case("headers", {"webhook-id": "a"}, "invalid_header", id="headers-webhook-id"),
        case("headers", {f"X-{n}": "" for n in range(65)}, "invalid_header", id="headers-65"),
        case("headers", {"X": "a" * 16_384}, "invalid_header", id="headers-16-KiB-and-1"),
        # bodies
        case("body_base64", "a", "invalid", id="base64-one-character"),
        case("body_base64", "YQ", "invalid", id="base64-no-padding"),
        case("body_base64", "YQ=", "invalid", id="base64-half-a-padding"),
        case("body_base64", "YQ==YQ==", "invalid", id="base64-twice"),
        case("body_base64", "=YQ=", "invalid", id="base64-padding-first"),
        case("body_base64", " YQ==", "invalid", id="base64-blank"),
        case("body_base64", "YQ==\n", "invalid", id="base64-line-feed"),
        case("body_base64", "-_-_", "invalid", id="base64-url-safe"),
        case("body_base64", "ＹＱ==", "invalid", id="base64-full-width"),
        case("body_base64", "YQ\x00=", "invalid", id="base64-nul"),
        # idempotency_key
        case("idempotency_key", "", "too_short", id="key-empty"),
        case("idempotency_key", "x" * 256, "too_long", id="key-256-characters"),
        case("idempotency_key", "a\x00b", "invalid", id="key-nul"),
        case("idempotency_key", "a\nb", "invalid", id="key-line-feed"),
        case("idempotency_key", "\t", "invalid", id="key-tab"),
        case("idempotency_key", "a\x7f", "invalid", id="key-delete"),
        # numbers
        case("priority", -1, "out_of_range", id="priority-below"),
        case("priority", 10, "out_of_range", id="priority-above"),
        case("priority", 2**63, "out_of_range", id="priority-64-bits"),
        case("priority", 10**300, "out_of_range", id="priority-300-digits"),
        case("max_attempts", 0, "out_of_range", id="attempts-none"),
        case("max_attempts", -1, "out_of_range", id="attempts-negative"),
        case("max_attempts", 101, "out_of_range", id="attempts-above"),
        case("max_attempts", 2**31, "out_of_range", id="attempts-32-bits"),
        # success_condition: the table of all kinds is that of tests/unit/notifier/policy/test_condition.py
        case("success_condition", "", "invalid_condition", id="condition-empty"),
        case("success_condition", "status ==", "invalid_condition", id="condition-unfinished"),
        case("success_condition", "status", "invalid_condition", id="condition-not-boolean"),
        case("success_condition", "code == 200", "invalid_condition", id="condition-unknown-name"),
        case("success_condition", "status.foo()", "invalid_condition", id="condition-unknown-function"),
        case("success_condition", "status > 'a'", "invalid_condition", id="condition-types"),
        case("success_condition", "text.matches('(')", "invalid_condition", id="condition-regex"),
        case("success_condition", "(" * 1024, "invalid_condition", id="condition-deep"),
        case("success_condition", "json.all(x, json.all(y, true))", "invalid_condition", id="condition-two-loops"),
        case("success_condition", "json.map(x, x).size() > 0", "invalid_condition", id="condition-map"),
        case("success_condition", "true\x00", "invalid_condition", id="condition-nul"),
        case("success_condition", "true || " * 128 + "true", "too_long", id="condition-1028-characters"),
        # metadata
        case("metadata", {"a": 1}, "invalid_type", id="metadata-number"),
        case("metadata", {"a": None}, "invalid_type", id="metadata-null-value"),
        case("metadata", {"a": {"b": "c"}}, "invalid_type", id="metadata-nested"),
        case("metadata", {"": "a"}, "invalid", id="metadata-empty-name"),
        case("metadata", {"a\n": "b"}, "invalid", id="metadata-control-in-name"),
        case("metadata", {"a": "b\x00"}, "invalid", id="metadata-control"),
        case("metadata", {f"{n}": "" for n in range(17)}, "invalid", id="metadata-17-entries"),
        case("metadata", {"a": "x" * 2048}, "invalid", id="metadata-2-KiB-and-1"),
        case("metadata", {"a": "ü" * 1024}, "invalid", id="metadata-2-KiB-and-1-in-utf-8"),
    ],
)
def test_a_bad_value_is_refused(field: str, value: Any, code: str) -> None:
    answer = caller().notify(notification(make_partner()) | {field: value})

    malformed(answer, "invalid_request", field, code)


@pytest.mark.parametrize("field", ["deliver_at", "expires_at"])
@pytest.mark.parametrize(
    "value",
    [
        "", "now", "tomorrow", "1767225600", "2027-01-01", "2027-01-01T12:00:00", "2027-01-01 12:00:00Z", "2027-01-01T12:00Z",
        "2027-01-01T12Z", "20270101T120000Z", "2027-W01-1T12:00:00Z", "2027-001T12:00:00Z", "27-01-01T12:00:00Z",
        "+2027-01-01T12:00:00Z", "12027-01-01T12:00:00Z", "2027-1-1T12:00:00Z", "2027-13-01T12:00:00Z",
        "2027-00-01T12:00:00Z", "2027-02-29T12:00:00Z", "2027-04-31T12:00:00Z", "2027-01-00T12:00:00Z",
        "2027-01-01T24:00:00Z", "2027-01-01T12:60:00Z", "2027-01-01T12:00:60Z", "2027-01-01T12:00:00.Z",
        "2027-01-01T12:00:00.1234567890Z", "2027-01-01T12:00:00,5Z", "2027-01-01T12:00:00+0000", "2027-01-01T12:00:00+00",
        "2027-01-01T12:00:00+24:00", "2027-01-01T12:00:00+99:99", "2027-01-01T12:00:00 Z", " 2027-01-01T12:00:00Z",
        "2027-01-01T12:00:00Z ", "2027-01-01T12:00:00Z\n", "2027-01-01T12:00:00Z\x00", "2027-01-01T12:00:00UTC",
        "2027-01-01T12:00:00[Europe/Berlin]", "0000-01-01T00:00:00Z", "２０２７-01-01T12:00:00Z", "٢٠٢٧-01-01T12:00:00Z",
        "2027-01-01T12:00:00.٣Z", "0001-01-01T00:00:00+00:01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59-23:59", "2027" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_rfc_3339_time_is_refused(field: str, value: str) -> None:
    answer = caller().notify(notification(make_partner()) | {field: value})

    malformed(answer, "invalid_request", field, "invalid")


@pytest.mark.parametrize(
    "given",
    [
        ("body", "body_text"),
        ("body", "body_base64"),
        ("body_text", "body_base64"),
        ("body", "body_text", "body_base64"),
    ],
    ids="+".join,
)
@pytest.mark.parametrize("value", ["", "YQ=="])
def test_two_bodies_are_refused(given: tuple[str, ...], value: str) -> None:
    answer = caller().notify(notification(make_partner(), **dict.fromkeys(given, value)))

    assert malformed(answer, "invalid_request", given[1], "more_than_one_body") == f"cannot be given beside {given[0]}"


def test_a_null_body_is_a_body() -> None:
    answer = caller().notify(notification(make_partner(), body=None, body_text=""))

    malformed(answer, "invalid_request", "body_text", "more_than_one_body")


@pytest.mark.parametrize(
    "name",
    [
        "x", "Body", "partner_id ", "url", "status", "task_id", "created_at", "attempt_count", "idempotent_replay", "__proto__",
        "__class__", "self", "x" * 80, "ü", "a.b", "a[0]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, 1, {"a": ["b"]}], ids=["null", "number", "object"])
def test_an_unknown_field_is_refused(name: str, value: Any) -> None:
    answer = caller().notify(notification(make_partner()) | {name: value})

    shown = problem(answer, 400, "unknown_field")
    assert [entry["code"] for entry in shown["details"]] == ["unknown_field"]
    assert [entry["field"] for entry in shown["details"]] == [name]
    nothing_stored()


def test_everything_that_is_wrong_is_told_at_once() -> None:
    asked = {"target_url": "x", "priority": 10, "headers": {"Host": "a"}, "extra": 1, "other": 2, "max_attempts": "1"}

    shown = problem(caller().notify(asked), 400, "invalid_request")

    assert sorted((entry["field"], entry["code"]) for entry in shown["details"]) == [
        ("extra", "unknown_field"),
        ("headers", "invalid_header"),
        ("max_attempts", "invalid_type"),
        ("other", "unknown_field"),
        ("partner_id", "required"),
        ("priority", "out_of_range"),
        ("target_url", "invalid_url"),
    ]
    assert shown["message"].endswith("(and 6 more; see details)")
    nothing_stored()


def test_a_long_unknown_name_is_cut_in_the_answer() -> None:
    answer = caller().notify(notification(make_partner()) | {"x" * 200_000: 1})

    assert problem(answer, 400, "unknown_field")["details"][0]["field"] == "x" * 80
    assert len(answer.content) < 1_000
    nothing_stored()


def test_ten_thousand_unknown_fields_are_refused() -> None:
    answer = caller().notify(notification(make_partner()) | {f"x{number}": 1 for number in range(10_000)})

    problem(answer, 400, "unknown_field")
    nothing_stored()


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        case("", "must be 1 to 255 characters", id="empty"),
        case("  ", "must be 1 to 255 characters", id="blank"),
        case('""', "must be 1 to 255 characters", id="empty-quoted"),
        case("x" * 256, "must be 1 to 255 characters", id="256-characters"),
        case(f'"{"x" * 256}"', "must be 1 to 255 characters", id="256-characters-quoted"),
        case('"', "is not a quoted string as RFC 9651 has it", id="one-quote"),
        case('"abc', "is not a quoted string as RFC 9651 has it", id="not-closed"),
        case('"a"b"', "is not a quoted string as RFC 9651 has it", id="quote-inside"),
        case('"a\\b"', "is not a quoted string as RFC 9651 has it", id="unknown-escape"),
        case('"abc"; a=1', "is not a quoted string as RFC 9651 has it", id="parameters"),
        case('"abc", "def"', "is not a quoted string as RFC 9651 has it", id="two"),
        case('"a\tb"', "is not a quoted string as RFC 9651 has it", id="tab-quoted"),
        case('"ä"', "is not a quoted string as RFC 9651 has it", id="not-ascii-quoted"),
        case("ä", "must be printable ASCII; send other characters in the body's idempotency_key", id="not-ascii"),
        case("a\tb", "must be printable ASCII; send other characters in the body's idempotency_key", id="tab"),
        case("a\x7f", "must be printable ASCII; send other characters in the body's idempotency_key", id="delete"),
        case("a\x00b", "must be printable ASCII; send other characters in the body's idempotency_key", id="nul"),
    ],
)
def test_a_bad_idempotency_key_header_is_refused(header: str, sentence: str) -> None:
    answer = caller().notify(notification(make_partner()), headers={"Idempotency-Key": header})

    shown = problem(answer, 400, "invalid_request")
    assert shown["details"] == [
        {"field": "Idempotency-Key", "code": "invalid", "message": f"The header Idempotency-Key {sentence}."}
    ]
    nothing_stored()


@pytest.mark.parametrize("header", ["other", "KEY", '"key "', "key."])
def test_two_idempotency_keys_that_differ_are_refused(header: str) -> None:
    answer = caller().notify(notification(make_partner(), idempotency_key="key"), headers={"Idempotency-Key": header})

    shown = problem(answer, 400, "idempotency_key_mismatch")
    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [("idempotency_key", "mismatch")]
    nothing_stored()


@pytest.mark.parametrize("field", ["target_url", "headers", "body_base64", "idempotency_key", "success_condition"])
def test_the_answer_to_a_bad_value_does_not_hold_it_where_it_could_be_a_secret(field: str) -> None:
    value: Any = {"Authorization": "hunter2\n"} if field == "headers" else "hunter2\n(" * 40

    answer = caller().notify(notification(make_partner()) | {field: value})

    problem(answer, 400, "invalid_request")
    assert b"hunter2" not in answer.content
    nothing_stored()
