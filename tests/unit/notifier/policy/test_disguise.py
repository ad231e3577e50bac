"""A secret is found in whatever spelling a partner repeats it."""

from __future__ import annotations

import base64
import html
import json
from typing import Literal
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.policy.redaction import MASK, kept_text, scrub
from tests.unit.cases import case

SECRET = 'C4nary/+sé"cr\\et&<x>=% z%41'
SPELLINGS = {
    "as-it-is": SECRET,
    "in-a-url": quote(SECRET, safe=""),
    "in-a-path": quote(SECRET),
    "in-a-form": quote_plus(SECRET),
    "in-lower-case-hex": quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3", "%c3"),
    "in-json": json.dumps(SECRET)[1:-1],
    "in-json-as-utf-8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "in-json-with-escaped-slashes": json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "in-json-in-json": json.dumps(json.dumps(SECRET))[3:-3],
    "all-escaped": "".join(f"\\u{ord(character):04X}" for character in SECRET),
    "in-html": html.escape(SECRET),
    "in-html-by-numbers": "".join(
        f"&#{ord(character)};&#x{ord(character):x};"[:-1].split(";")[0] + ";" for character in SECRET
    ),
    "in-json-in-a-url": quote(json.dumps(json.dumps(SECRET))[3:-3], safe=""),
    "in-base64": base64.b64encode(SECRET.encode()).decode(),
    "in-base64-for-urls": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "in-base64-without-its-end": base64.b64encode(SECRET.encode()).decode().rstrip("="),
    "in-base64-behind-one": base64.b64encode(b"x" + SECRET.encode() + b"tail").decode(),
    "in-base64-behind-two": base64.b64encode(b"u:" + SECRET.encode() + b"tail").decode(),
    "in-base64-in-a-url": quote(base64.b64encode(b"u:" + SECRET.encode()).decode(), safe=""),
    "in-hex": SECRET.encode().hex(),
    "in-capital-hex": SECRET.encode().hex().upper(),
    "as-a-header-read-as-utf-8": SECRET.encode("latin-1").decode("utf-8", "replace"),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_is_hidden_and_what_stands_beside_it_is_not(spelling: str) -> None:
    shown = scrub(f"before {spelling} after {spelling}", [SECRET])

    assert shown == f"before {MASK} after {MASK}"


@pytest.mark.parametrize(
    "text",
    [
        case('{"error": "caf\\u00e9 100%25 &amp; \\"ok\\" C4nary"}', id="escapes"),
        case("%zz \\u12 &#99999999; &#xffffff; \\", id="broken-escapes"),
        case("\\ud800 %ff%fe \\x", id="halves"),
        case("", id="nothing"),
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert scrub(text, [SECRET, "another-secret"]) == text


_SURROGATES: tuple[Literal["Cs"]] = ("Cs",)
_ENCODERS = st.sampled_from(
    [
        lambda text: text,
        lambda text: quote(text, safe=""),
        quote_plus,
        json.dumps,
        lambda text: json.dumps(json.dumps(text)),
        html.escape,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
    ]
)


@settings(max_examples=300)
@given(
    secret=st.text(
        st.characters(exclude_categories=_SURROGATES, exclude_characters="*"), min_size=8, max_size=40
    ).filter(lambda text: len(set(text)) > 3),
    before=st.text(st.characters(exclude_categories=_SURROGATES), max_size=20),
    after=st.text(st.characters(exclude_categories=_SURROGATES), max_size=20),
    encode=_ENCODERS,
)
def test_no_text_around_it_and_no_encoding_of_it_all_keeps_a_secret_visible(
    secret: str, before: str, after: str, encode: object
) -> None:
    assert callable(encode)
    shown = scrub(encode(f"{before}|{secret}|{after}"), [secret])

    assert encode(secret).strip('"\\=')[1:-1] not in shown


def test_time_grows_with_the_length_alone() -> None:
    hostile = "\\" * 20_000 + "%25" * 5_000 + "&amp;" * 5_000

    assert scrub(hostile, ["\\" * 40 + "x", "%25" * 20 + "y"]) == hostile


@pytest.mark.parametrize("kept", range(40))
def test_a_secret_that_the_end_of_the_record_cuts_in_two_is_hidden(kept: int) -> None:
    body = b"0123456789 SECRETVALUE and more"

    shown = kept_text(body, ["SECRETVALUE"], max_bytes=kept, truncated=False)

    assert shown == f"0123456789 {MASK} and more"[:kept]


@pytest.mark.parametrize("read", range(31))
def test_a_secret_of_which_only_the_beginning_was_read_is_hidden(read: int) -> None:
    body = b"0123456789 SECRETVALUE and more"[:read]

    shown = kept_text(body, ["SECRETVALUE"], max_bytes=2048, truncated=True)

    assert "SE" not in shown


def test_without_secrets_the_record_is_the_bodys_beginning() -> None:
    assert kept_text(b"caf\xc3\xa9 \xff", [], max_bytes=5, truncated=True) == "caf\xe9"
    assert kept_text(b"ab\xff", [], max_bytes=5, truncated=False) == "ab\ufffd"
