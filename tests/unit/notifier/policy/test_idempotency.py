from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.idempotency import fingerprint
from tests.unit.cases import case

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "method": "POST",
    "url": "https://hooks.example.com/in",
    "headers": {"X-A": "1", "X-B": "2"},
    "body": b'{"a":1}',
    "success_condition": "status == 200",
    "deliver_at": AT,
}


def test_the_fingerprint_is_stable() -> None:
    # Stored with every task: a change of this value lets no producer replay what it sent before.
    assert fingerprint(**REQUEST) == "6f21d913241a093f682801dc1a6628780516ef2e282d45fbfcab68a711f45a53"


@pytest.mark.parametrize(
    "same",
    [
        case({"headers": {"X-B": "2", "X-A": "1"}}, id="headers-in-another-order"),
        case({"headers": {"x-a": "1", "x-B": "2"}}, id="header-names-in-another-case"),
        case({"deliver_at": AT.astimezone(timezone(timedelta(hours=2)))}, id="the-same-instant-elsewhere"),
    ],
)
def test_the_same_request_has_the_same_fingerprint(same: dict[str, Any]) -> None:
    assert fingerprint(**(REQUEST | same)) == fingerprint(**REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        case({"method": "PUT"}, id="method"),
        case({"url": "https://hooks.example.com/IN"}, id="url"),
        case({"headers": {"X-A": "1", "X-B": "3"}}, id="header-value"),
        case({"headers": {"X-A": "1", "X-C": "2"}}, id="header-name"),
        case({"headers": {"X-A": "1"}}, id="header-missing"),
        case({"headers": {"X-A": "1", "X-B": "2", "X-C": ""}}, id="header-more"),
        case({"headers": {"X-A": "2", "X-B": "1"}}, id="header-values-swapped"),
        case({"headers": {"X-A": "1X-B", "": "2"}}, id="header-boundary-moved"),
        case({"headers": {}}, id="headers-none"),
        case({"body": b'{"a":2}'}, id="body"),
        case({"body": b'{"a": 1}'}, id="body-blank"),
        case({"body": b""}, id="body-empty"),
        case({"body": None}, id="body-none"),
        case({"body": b"null"}, id="body-null"),
        case({"success_condition": "status == 201"}, id="condition"),
        case({"success_condition": ""}, id="condition-empty"),
        case({"success_condition": None}, id="condition-none"),
        case({"deliver_at": AT + timedelta(microseconds=1)}, id="deliver-at"),
        case({"deliver_at": None}, id="deliver-at-none"),
    ],
)
def test_another_request_has_another_fingerprint(other: dict[str, Any]) -> None:
    assert fingerprint(**(REQUEST | other)) != fingerprint(**REQUEST)


def test_nothing_and_the_empty_string_differ_in_each_part() -> None:
    nothing: dict[str, Any] = REQUEST | {"headers": {}, "body": None, "success_condition": None, "deliver_at": None}
    variants = [nothing, nothing | {"body": b""}, nothing | {"success_condition": ""}, nothing | {"headers": {"": ""}}]

    assert len({fingerprint(**variant) for variant in variants}) == 4


_TEXT = st.text("aB-+:,\x00é", max_size=3)
_REQUESTS = st.fixed_dictionaries(
    {
        "method": _TEXT,
        "url": _TEXT,
        "headers": st.dictionaries(_TEXT.map(str.lower), _TEXT, max_size=3),
        "body": st.none() | st.binary(max_size=3),
        "success_condition": st.none() | _TEXT,
        "deliver_at": st.none() | st.sampled_from([AT, AT + timedelta(seconds=1)]),
    }
)


@given(_REQUESTS, _REQUESTS)
def test_two_requests_share_a_fingerprint_only_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (fingerprint(**one) == fingerprint(**other)) == (one == other)


@given(st.data(), _REQUESTS)
def test_moving_a_character_from_one_part_to_the_next_changes_the_fingerprint(data: Any, one: dict[str, Any]) -> None:
    moved = data.draw(st.text("aB", min_size=1, max_size=2))

    left = fingerprint(**(one | {"method": one["method"] + moved}))
    right = fingerprint(**(one | {"url": moved + one["url"]}))

    assert left != right
