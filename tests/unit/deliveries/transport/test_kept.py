from __future__ import annotations

from deliveries.transport.kept import Kept

ENDS = ("127.0.0.1", 443, 50_000)


def test_a_connection_that_others_are_on_is_taken_for_open_only_with_who_speaks_http2() -> None:
    kept = Kept()
    kept.joined(ENDS)

    assert kept.is_open(None, True, *ENDS)
    # HTTP/1.1 was agreed on, or nobody knows: it has to be looked at, and is not known here yet.
    assert not kept.is_open(None, False, *ENDS)
