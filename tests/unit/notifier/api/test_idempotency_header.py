"""The header Idempotency-Key, bare or quoted: a key of printable ASCII, or a 400."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifier.api.errors import Problem
from notifier.api.serializers import _header_key

_HEADERS = st.one_of(
    st.text(max_size=300),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300),
    st.text('a"\\ ', max_size=12),
    st.text('ab\\"', max_size=8).map(lambda inner: f'"{inner}"'),
)


@given(_HEADERS)
def test_whatever_the_header_it_is_a_key_or_refused(header: str) -> None:
    try:
        key = _header_key(header)
    except Problem:
        return

    assert key is not None
    assert 1 <= len(key) <= 255
    assert key.isascii()
    assert key.isprintable()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_a_quoted_key_is_read_back_as_it_was(key: str) -> None:
    """RFC 9651, section 3.3.3: backslash and quote are escaped, nothing else is."""
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert _header_key(quoted) == key
