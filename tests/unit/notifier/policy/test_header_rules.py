from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.header_rules import HeaderError, check, secrets_named
from tests.unit.cases import case


@pytest.mark.parametrize(
    "headers",
    [
        case({}, id="none"),
        case({"X-A": "1"}, id="one"),
        case({"X-A": ""}, id="empty-value"),
        case({"!#$%&'*+.^_`|~0Aa-": "1"}, id="every-kind-of-name-character"),
        case({"X-A": "a\tb c"}, id="blanks-inside"),
        case({"X-A": "".join(map(chr, range(0x21, 0x7F)))}, id="every-visible-ascii-character"),
        case({"X-A": "Grüße \x80\xff"}, id="latin-1"),
        case({"Authorization": "Bearer x", "Cookie": "a=1", "Content-Type": "text/plain"}, id="credentials-and-type"),
        case({"Authorization": "Bearer {{secret:acme_token}}"}, id="secret-reference"),
        case({"User-Agent": "x", "Accept-Encoding": "gzip", "Traceparent": "x"}, id="ours-by-default-only"),
        case({"X-Webhook-Id": "1", "Web-Hook": "2", "Webhook": "3", "Webhooks-Id": "4"}, id="close-to-reserved"),
        case({"X-A": "XaX"}, id="letters-around"),
        case({f"X-{n}": "" for n in range(64)}, id="64-headers"),
        case({"A": "x" * (16 * 1024 - 1)}, id="16-KiB"),
    ],
)
def test_good_headers_come_back_as_given(headers: dict[str, str]) -> None:
    assert check(headers) is headers


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        case(None, "must be an object of names and values", id="null"),
        case([], "must be an object of names and values", id="list"),
        case([["X-A", "1"]], "must be an object of names and values", id="pairs"),
        case("X-A: 1", "must be an object of names and values", id="string"),
        case(1, "must be an object of names and values", id="number"),
        case({f"X-{n}": "" for n in range(65)}, "must have at most 64 headers", id="65-headers"),
        case({"A": "x" * (16 * 1024)}, "must be at most 16384 bytes together", id="16-KiB-and-1"),
        case({"A": "x" * 8192, "B": "x" * 8192}, "must be at most 16384 bytes together", id="16-KiB-and-2-in-two"),
        case({"X" * 16385: ""}, "must be at most 16384 bytes together", id="16-KiB-and-1-name"),
        case({"": "1"}, "'' is not a header name", id="empty-name"),
        case({" X": "1"}, "' X' is not a header name", id="blank-before-name"),
        case({"X ": "1"}, "'X ' is not a header name", id="blank-after-name"),
        case({"X A": "1"}, "'X A' is not a header name", id="blank-in-name"),
        case({"X:": "1"}, "'X:' is not a header name", id="colon"),
        case({"X\n": "1"}, "'X\\n' is not a header name", id="line-feed-after-name"),
        case({"X\r\nY": "1"}, "'X\\r\\nY' is not a header name", id="line-break-in-name"),
        case({"X\x00": "1"}, "'X\\x00' is not a header name", id="nul-in-name"),
        case({"Ä": "1"}, "'Ä' is not a header name", id="latin-name"),
        case({"Ⅹ": "1"}, "'Ⅹ' is not a header name", id="unicode-name"),
        case({"X(": "1"}, "'X(' is not a header name", id="separator-in-name"),
        case({1: "1"}, "'1' is not a header name", id="number-as-name"),
        case({"(" * 81: "1"}, f"'{'(' * 80}' is not a header name", id="long-bad-name-is-cut"),
        case({"X-A": 1}, "the value of X-A is not a string", id="number"),
        case({"X-A": None}, "the value of X-A is not a string", id="null-value"),
        case({"X-A": True}, "the value of X-A is not a string", id="true"),
        case({"X-A": ["a"]}, "the value of X-A is not a string", id="list-value"),
        case({"X-A": {"b": "c"}}, "the value of X-A is not a string", id="object-value"),
        case({"X-A": "1", "x-a": "2"}, "x-a is given twice", id="twice"),
        case({"X-A": " 1"}, "the value of X-A begins or ends with a blank", id="leading-blank"),
        case({"X-A": "1 "}, "the value of X-A begins or ends with a blank", id="trailing-blank"),
        case({"X-A": "\t1"}, "the value of X-A begins or ends with a blank", id="leading-tab"),
        case({"X-A": " "}, "the value of X-A begins or ends with a blank", id="only-a-blank"),
    ],
)
def test_bad_headers_are_refused_with_the_reason(headers: Any, reason: str) -> None:
    with pytest.raises(HeaderError) as refused:
        check(headers)

    assert str(refused.value) == reason


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0A, 0x20), 0x7F, 0x100, 0x20AC, 0x2028, 0xD800, 0x1F600])
@pytest.mark.parametrize("shape", ["{}", "a{}b", "{}a", "a{}"])
def test_a_value_has_no_control_character_and_nothing_outside_latin_1(code: int, shape: str) -> None:
    with pytest.raises(HeaderError) as refused:
        check({"X-A": shape.format(chr(code))})

    assert str(refused.value) == "the value of X-A has a control character or one outside Latin-1"


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Host", "Content-Length", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
        "Upgrade", "Expect", "HTTP2-Settings", "Webhook-Id", "Webhook-Timestamp", "Webhook-Attempt", "Webhook-Signature",
        "Webhook-Anything", "Webhook-",
    ],
)  # fmt: skip
@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_headers_of_the_connection_and_our_own_are_refused_in_anycase(name: str, spell: Any) -> None:
    with pytest.raises(HeaderError) as refused:
        check({"X-A": "1", spell(name): "1"})

    assert str(refused.value) == f"{spell(name)} is set by the notifier itself or belongs to the connection"


@pytest.mark.parametrize(
    "headers", [{"X-A": "hunter2\n"}, {"X-A": " hunter2"}, {"X-A": "hunter2€"}, {"X-A": ["hunter2"]}]
)
def test_the_reason_never_holds_the_value(headers: dict[str, Any]) -> None:
    with pytest.raises(HeaderError) as refused:
        check(headers)

    assert "hunter2" not in str(refused.value)


_ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=2), max_size=2)
)


@given(st.one_of(_ANY, st.dictionaries(st.text(max_size=5), _ANY, max_size=3)))
def test_whatever_is_given_it_is_good_or_a_header_error(headers: Any) -> None:
    try:
        good = check(headers)
    except HeaderError:
        return

    for name, value in good.items():
        f"{name}: {value}".encode("latin-1")
        assert not set(f"{name}{value}") & set("\r\n\x00")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        case("", [], id="empty"),
        case("Bearer abc", [], id="literal"),
        case("Bearer {{secret:acme_token}}", ["acme_token"], id="one"),
        case("{{secret:a}}:{{secret:b}}", ["a", "b"], id="two"),
        case("{{ secret: a }}", ["a"], id="blanks"),
        case("{{\tsecret:\ta\t}}", ["a"], id="tabs"),
        case("{{secret:}}", [""], id="no-name"),
        case("{{secret: }}", [""], id="blank-name"),
        case("{{secret:a b}}", ["a b"], id="blank-in-name"),
        case("{{secret:a{b}}", ["a{b"], id="brace-in-name"),
        case("{{{secret:a}}}", ["a"], id="three-braces"),
        case("{secret:a}", [], id="one-brace"),
        case("{{secret:a}", [], id="not-closed"),
        case("{{secret}}", [], id="no-colon"),
        case("{{SECRET:a}}", [], id="upper-case"),
        case("{{secrets:a}}", [], id="another-word"),
        case("{{other:a}}", [], id="another-kind"),
        case("{{secret:" + "a" * 255 + "}}", ["a" * 255], id="longest-name"),
        case("{{secret:" + " " * 16_000 + "x", [], id="16-KB-of-blanks"),
        case("{{secret:" * 1_800, [], id="1800-beginnings"),
        case("{" * 16_000, [], id="16-KB-of-braces"),
        case("{{" + " " * 16_000, [], id="16-KB-of-blanks-after-braces"),
    ],
)
def test_secrets_named(value: str, names: list[str]) -> None:
    assert secrets_named(value) == names
