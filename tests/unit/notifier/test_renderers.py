"""What the API writes as JSON, and with it the bodies that partners get."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from notifier.api.renderers import dumps

_LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(_VALUES)
def test_a_body_is_the_same_bytes_whichever_encoder_writes_it(value: Any) -> None:
    """A producer's second try has the fingerprint of its first, whatever the body and whenever that was."""
    alone = simplejson.dumps(value, use_decimal=True, ensure_ascii=False, separators=(",", ":"))

    assert dumps(value) == alone.encode()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(Decimal("1.10"), b"1.10", id="a decimal keeps its digits"),
        pytest.param(2**80, b"1208925819614629174706176", id="a number beyond 64 bits"),
        pytest.param("\u2028é", '"\u2028é"'.encode(), id="characters as they are"),
        pytest.param(uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"', id="an id"),
        pytest.param(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2026-01-02T03:04:05.000000Z"', id="a time"),
    ],
)
def test_each_kind_of_value_has_its_form(value: Any, written: bytes) -> None:
    assert dumps(value) == written
    assert dumps([value, Decimal("0.5")]) == b"[" + written + b",0.5]"
