from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy import condition
from notifier.policy.condition import DEFAULT_CONDITION, ConditionError
from notifier.policy.condition_bounds import MAX_LOOP_WORK
from notifier.policy.exchange import Exchange, FailureKind
from tests.unit.cases import case

OK = Exchange(
    status=200,
    headers=(
        ("Content-Type", "application/json"),
        ("X-Count", "1"),
        ("x-count", "2"),
        ("X-COUNT", "3"),
        ("X-Empty", ""),
    ),
    body=b'{"ok": true, "id": 7, "name": "a", "none": null, "items": [{"n": 1}, {"n": 2}], "ratio": 0.5}',
)


def _response(body: bytes, *, status: int = 200, truncated: bool = False) -> Exchange:
    return Exchange(status=status, body=body, body_truncated=truncated)


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        case("true", True, id="true"),
        case("false", False, id="false"),
        case("status == 200", True, id="status"),
        case("status != 200", False, id="status-not"),
        case("status in [200, 201]", True, id="status-in"),
        case("status > 199.5", True, id="status-and-float"),
        case("status >= 200 && status < 300", True, id="status-range"),
        case("status == 200 ? json.ok : false", True, id="ternary"),
        case("json.ok", True, id="json-boolean"),
        case("json.ok == true", True, id="json-equals"),
        case("json.id > 6 && json.id < 8", True, id="json-number"),
        case("json.ratio == 0.5", True, id="json-float"),
        case("json['name'] == 'a'", True, id="json-index"),
        case("json.none == null", True, id="json-null"),
        case("json.items.size() == 2", True, id="json-size"),
        case("json.items[0].n == 1", True, id="json-element"),
        case("has(json.ok)", True, id="has"),
        case("has(json.other)", False, id="has-not"),
        case("'ok' in json", True, id="in-object"),
        case("json.items.exists(i, i.n == 2)", True, id="exists"),
        case("json.items.all(i, i.n == 2)", False, id="all"),
        case("json.items.exists_one(i, i.n == 2)", True, id="exists-one"),
        case("json.items.filter(i, i.n > 1).size() == 1", True, id="filter"),
        case("json.items\n .all( // each\n i, i.n > 0)", True, id="comment-in-a-loop"),
        case("text.contains('\"id\": 7')", True, id="text"),
        case("text.startsWith('{')", True, id="text-starts"),
        case("text.endsWith('{')", False, id="text-ends"),
        case("text.matches('^.*name.*$')", True, id="regex"),
        case("headers['content-type'] == 'application/json'", True, id="header"),
        case("headers['x-count'] == '1, 2, 3'", True, id="header-joined"),
        case("headers['x-empty'] == ''", True, id="header-empty"),
        case("'x-none' in headers", False, id="header-absent"),
        case("headers.exists(name, name.startsWith('x-'))", True, id="header-names"),
        case("!has(headers.location) && json.ok", True, id="header-not-there"),
        case("int(headers['x-empty']) == 0 || json.ok", True, id="an-error-beside-a-truth"),
        case("json.other == 1 || status == 200", True, id="a-missing-key-beside-a-truth"),
    ],
)  # fmt: skip
def test_a_good_condition_is_accepted_and_decides(expression: str, met: bool) -> None:
    condition.check(expression)

    assert condition.met(expression, OK) is met


@pytest.mark.parametrize("status", [100, 199, 200, 204, 302, 399, 400, 404, 500, 599])
def test_the_default_says_the_same_whether_it_is_compiled_or_not(status: int) -> None:
    condition.check(DEFAULT_CONDITION)

    assert condition.met(DEFAULT_CONDITION, Exchange(status=status)) is (200 <= status < 400)
    assert condition.met(f" {DEFAULT_CONDITION}", Exchange(status=status)) is (200 <= status < 400)


LONGEST = "status == 200 || " + "status == 200".rjust(1024 - 17)


def test_a_condition_of_the_greatest_length_is_accepted() -> None:
    assert len(LONGEST) == 1024

    condition.check(LONGEST)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        case(" " + LONGEST, "it is longer than 1024 characters", id="1025-characters"),
        case("", "it is not valid CEL: ", id="empty"),
        case("  ", "it is not valid CEL: ", id="blank"),
        case("status = 200", "it is not valid CEL: ", id="assignment"),
        case("status == ", "it is not valid CEL: ", id="unfinished"),
        case("(status == 200", "it is not valid CEL: ", id="parenthesis-open"),
        case("status == 200)", "it is not valid CEL: ", id="parenthesis-closed"),
        case("status === 200", "it is not valid CEL: ", id="three-equals"),
        case("status == 200 and true", "it is not valid CEL: ", id="and"),
        case("status == 200; true", "it is not valid CEL: ", id="semicolon"),
        case('text == "abc', "it is not valid CEL: ", id="string-open"),
        case('text == "\\ud800"', "it is not valid CEL: ", id="escaped-surrogate"),
        case('text == "\ud800"', "it is not valid CEL: ", id="surrogate"),
        case("status == 99999999999999999999", "it is not valid CEL: ", id="integer-too-large"),
        case("status == 1e999", "it is not valid CEL: ", id="float-too-large"),
        case("$status", "it is not valid CEL: ", id="dollar"),
        case("lambda: 1", "it is not valid CEL: ", id="python"),
        case("__import__('os')", "Undefined variable or function: '__import__'", id="python-import"),
        case(
            "(" * 512 + "1" + ")" * 511, "it is not valid CEL: 1:97: Syntax error: Recursion limit of 96 exceeded",
            id="deep-parentheses",
        ),
        case("[" * 512 + "]" * 512, "it is not valid CEL: ", id="deep-lists"),
        case("true?true:" * 100 + "true", "it is not valid CEL: ", id="deep-ternaries"),
        case("Status == 200", "it names 'Status'; there are only status, headers, json, text", id="case"),
        case("body == ''", "it names 'body'; there are only status, headers, json, text", id="unknown-name"),
        case("a == b", "it names 'a'; there are only status, headers, json, text", id="first-unknown-name"),
        case("a" * 1024, f"it names {'a' * 80!r}; there are only", id="long-unknown-name"),
        case("json.all(x, y)", "it names 'y'; there are only status, headers, json, text", id="unknown-beside-a-loop"),
        case("size()", "Undefined variable or function: 'size'", id="wrong-call"),
        case("status.foo()", "Undefined variable or function: 'foo'", id="unknown-function"),
        case("status", "it gives a int, not true or false", id="integer"),
        case("text", "it gives a str, not true or false", id="string"),
        case("'true'", "it gives a str, not true or false", id="string-true"),
        case("json", "it gives a dict, not true or false", id="object"),
        case("null", "it gives a NoneType, not true or false", id="null"),
        case("[true]", "it gives a list, not true or false", id="list"),
        case("status + 1", "it gives a int, not true or false", id="sum"),
        case("json.filter(x, true)", "it gives a list, not true or false", id="filter-alone"),
        case("status > '200'", "it combines values of types that do not go together", id="status-and-string"),
        case("!status", "it combines values of types that do not go together", id="not-status"),
        case("status && true", "it combines values of types that do not go together", id="status-and"),
        case("status.code == 1", "it combines values of types that do not go together", id="field-of-status"),
        case("text > 1", "it combines values of types that do not go together", id="text-and-integer"),
        case("status.all(x, true)", "it combines values of types that do not go together", id="loop-over-status"),
        case("text.matches('(')", "Function 'matches' error: '(' not a valid regex", id="regex"),
    ],
)  # fmt: skip
def test_a_bad_condition_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(ConditionError) as refused:
        condition.check(expression)

    assert str(refused.value).startswith(reason)
    assert len(str(refused.value)) <= 240
    assert "\n" not in str(refused.value)


TWO_LOOPS = "it uses more than one of all, exists, exists_one and filter"
MAP = "it uses map; there are only all, exists, exists_one and filter"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        case("json.all(x, json.all(y, true))", TWO_LOOPS, id="loop-in-a-loop"),
        case("json.all(x, x) && json.exists(y, y)", TWO_LOOPS, id="loop-beside-a-loop"),
        case("json.all(x,json.//c\nall(y, true))", TWO_LOOPS, id="hidden-by-a-comment"),
        case("json.//c\nall(x, json.//d\nall(y, json.//e\nall(z, true)))", TWO_LOOPS, id="all-hidden-by-comments"),
        case("json.all//c\n(x, json.all //d\n //e\n(y, true))", TWO_LOOPS, id="comment-before-the-parenthesis"),
        case("json.all(x, json . exists \n ( y, true))", TWO_LOOPS, id="blanks-between"),
        case("json.map(x, x).size() > 0", MAP, id="map"),
        case("json.map(x, x > 1, x).size() > 0", MAP, id="map-with-a-filter"),
        case("json.//c\nmap(x, true) == []", MAP, id="map-hidden-by-a-comment"),
        case("json.all(x, text.matches('a'))", "it uses matches beside all", id="regex-in-a-loop"),
        case("json.exists(x, true) && text.matches('a')", "it uses matches beside exists", id="regex-beside-a-loop"),
        case(
            "json.filter(x, x == [json, json, json, json, text, text, headers, headers]).size() == 1",
            "it names json, text and headers more than 8 times beside filter", id="names-in-a-loop",
        ),
    ],
)  # fmt: skip
def test_a_loop_that_could_hold_a_worker_up_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(ConditionError) as refused:
        condition.check(expression)

    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("items", "met"),
    [
        case(990, True, id="within-the-bound"),
        case(1_001, False, id="beyond-the-bound"),
        case(30_000, False, id="64-KiB"),
    ],
)
@pytest.mark.parametrize(
    ("shape", "expression"),
    [
        case("[%s]", "json.all(x, true)", id="whole"),
        case('{"a": {"b": [%s]}}', "json.a.b.all(x, true)", id="nested"),
        case('{"a": 1, "b": [[%s]]}', "json.b[0].filter(x, true).size() > 0", id="nested-in-a-list"),
        case('{"a": {"b": [%s]}}', "json.a.exists(x, true)", id="beside"),
    ],
)
def test_a_loop_over_too_much_is_not_met(shape: str, expression: str, items: int, met: bool) -> None:
    body = shape % ",".join(["1"] * items)
    assert (items * len(body) <= MAX_LOOP_WORK) is met

    assert condition.met(expression, _response(body.encode())) is met


def test_a_loop_may_name_the_response_eight_times() -> None:
    expression = "json.filter(x, x == [json, json, json, json, text, text, headers]).size() == 0"
    condition.check(expression)

    assert condition.met(expression, _response(b"[1]"))


@pytest.mark.parametrize(
    ("size", "met"), [case(2_500, True, id="exactly-the-bound"), case(2_501, False, id="a-byte-more")]
)
def test_the_work_of_a_loop_is_items_times_bytes(size: int, met: bool) -> None:
    body = f"[{','.join(['1'] * 800)}]".ljust(size)
    assert MAX_LOOP_WORK == 2_000_000

    assert condition.met("json.all(x, true)", _response(body.encode())) is met


def test_the_bytes_of_a_loop_are_those_of_body_and_headers() -> None:
    body = f"[{','.join(['1'] * 800)}]".encode()
    headers = (("x-a", "x" * 500), ("x-b", "x" * 500))

    assert condition.met("json.all(x, true)", Exchange(status=200, body=body, headers=headers[:1]))
    assert not condition.met("json.all(x, true)", Exchange(status=200, body=body, headers=headers))


def test_what_a_loop_may_not_do_costs_a_condition_without_one_nothing() -> None:
    body = json.dumps([1] * 30_000).encode()

    assert condition.met("json.size() == 30000", _response(body))


def test_a_loop_over_too_many_headers_is_not_met() -> None:
    headers = tuple((f"x-{number}", "1") for number in range(1_000))

    assert condition.met("headers.all(name, true)", Exchange(status=200, headers=headers[:500]))
    assert not condition.met("headers.all(name, true)", Exchange(status=200, headers=headers))


@pytest.mark.parametrize(
    "expression",
    [
        case("json.a.b.c == 1", id="missing-key"),
        case("json[5] == 1", id="index-of-an-object"),
        case("json.items[5].n == 1", id="index-too-large"),
        case("json.items[-1].n == 1", id="index-negative"),
        case("json.name > 1", id="types-differ"),
        case("json.ok.x", id="field-of-a-boolean"),
        case("json.id", id="not-a-boolean"),
        case("json.id.all(x, true)", id="loop-over-a-number"),
        case("headers['x-none'] == '1'", id="missing-header"),
        case("int(headers['content-type']) == 1", id="not-a-number"),
        case("1 / (status - 200) == 1", id="division-by-zero"),
        case("status + 9223372036854775807 > 0", id="overflow"),
        case("timestamp(text) > timestamp('2026-01-01T00:00:00Z')", id="not-a-time"),
        case("status == 201 || text.matches(json.name) && json.none.x", id="late-failure"),
    ],
)
def test_a_condition_that_fails_on_a_response_is_not_met(expression: str) -> None:
    assert condition.met(expression, OK) is False


@pytest.mark.parametrize(
    "body",
    [
        case(b"", id="empty"),
        case(b"ok", id="text"),
        case(b'{"ok": true', id="unfinished"),
        case(b'{"ok": true}}', id="trailing"),
        case(b'\xff{"ok": true}', id="not-utf-8"),
        case(b"[" * 100_000, id="deep"),
        case(b'{"ok": ' + b"9" * 5_000 + b"}", id="number-of-5000-digits"),
        case(b'{"ok": true, "x": "\\ud800"}', id="half-a-surrogate-pair"),
        case(b"null", id="null"),
        case(b"[true]", id="list"),
        case(b"true", id="true"),
        case(b"<ok>true</ok>", id="xml"),
    ],
)
def test_a_body_without_the_json_that_was_asked_for_does_not_meet_the_condition(body: bytes) -> None:
    assert condition.met("json.ok", _response(body)) is False
    assert condition.met("status == 200", _response(body)) is True


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        case(b"true", "json == true", id="true"),
        case(b"7", "json == 7", id="number"),
        case(b"7", "json > 6", id="number-that-the-sample-is-not"),
        case(b"[7]", "json.size() == 1 && json[0] + 1 > 7", id="list-that-the-sample-is-not"),
        case(b'"a"', "json == 'a'", id="string"),
        case(b"[1, 2]", "json[1] == 2", id="list"),
        case(b"null", "json == null", id="null"),
        case(b"nothing", "json == null", id="no-json-is-null"),
        case('{"é": "ü"}'.encode(), "json['é'] == 'ü'", id="not-ascii"),
        case(b'\xef\xbb\xbf{"a": 1}', "json.a == 1", id="byte-order-mark"),
        case(b'{"a": 12345678901234567890123}', "json.a > 1.0", id="large-integer"),
        case(b'{"a": 1}', "json.a == 1 && text == '{\"a\": 1}'", id="json-and-text"),
        case(b"caf\xe9", "text == 'caf\ufffd'", id="text-not-utf-8"),
    ],
)
def test_the_body_as_json_and_as_text(body: bytes, expression: str) -> None:
    condition.check(expression)

    assert condition.met(expression, _response(body)) is True


def test_a_truncated_body_has_text_but_no_json() -> None:
    cut = _response(b'{"ok": true}', truncated=True)

    assert condition.met("json.ok", cut) is False
    assert condition.met("json == null && text.contains('ok')", cut) is True


@pytest.mark.parametrize("expression", ["true", DEFAULT_CONDITION, "status == 200", "json == null"])
def test_nothing_is_met_without_a_response(expression: str) -> None:
    assert condition.met(expression, Exchange(failure=FailureKind.TIMEOUT)) is False


_WORDS = st.sampled_from(
    ["status", "headers", "json", "text", "x", ".", "(", ")", "[", "]", "{", "}", ",", ":", "?", "==", "!", "-", "+", "/",
     "&&", "||", " ", "//", "\n", "'", '"', "\\", "in", "1", "0", "9223372036854775807", "1.5", "true", "null", ".all(x,",
     ".exists(x,", ".filter(x,", ".map(x,", "has(", "size(", "int(", "string(", "duration(", "timestamp(", ".matches("]
)  # fmt: skip
_EXPRESSIONS = st.one_of(st.text(max_size=30), st.lists(_WORDS, max_size=25).map("".join))


@given(_EXPRESSIONS)
def test_whatever_the_expression_it_is_refused_or_decides(expression: str) -> None:
    try:
        condition.check(expression)
    except ConditionError:
        return

    assert condition.met(expression, OK) in (True, False)


_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON, st.sampled_from(["json.a > 1", "json == 1", "json[0]", "json.all(x, x)", "has(json.a)", "'a' in json"]))
def test_whatever_the_response_a_condition_decides(value: Any, expression: str) -> None:
    assert condition.met(expression, _response(json.dumps(value).encode())) in (True, False)
