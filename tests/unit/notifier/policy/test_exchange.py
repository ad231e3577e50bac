from __future__ import annotations

import pytest

from notifier.policy.exchange import Exchange, FailureKind, Timing


@pytest.mark.parametrize(
    ("name", "value"),
    [("Retry-After", "1"), ("retry-after", "1"), ("RETRY-AFTER", "1"), ("X-Empty", ""), ("Retry", None), ("", None)],
)
def test_header_finds_the_first_value_whatever_itscase(name: str, value: str | None) -> None:
    exchange = Exchange(
        status=503, headers=(("Server", "x"), ("rEtry-aFter", "1"), ("Retry-After", "2"), ("x-empty", ""))
    )

    assert exchange.header(name) == value


def test_what_is_not_known_is_empty_and_may_have_been_sent() -> None:
    exchange = Exchange()

    assert (exchange.status, exchange.headers, exchange.body, exchange.body_truncated) == (None, (), b"", False)
    assert (exchange.remote_ip, exchange.failure, exchange.failure_detail) == (None, None, "")
    assert exchange.maybe_sent is True
    assert exchange.timing == Timing(dns_ms=0.0, connect_ms=0.0, tls_ms=0.0, ttfb_ms=0.0, total_ms=0.0)


def test_repr_holds_nothing_of_the_response() -> None:
    exchange = Exchange(
        status=200,
        headers=(("X-Echo", "hunter2"),),
        body=b"hunter2",
        remote_ip="192.0.2.1",
        timing=Timing(total_ms=12.34),
    )

    assert repr(exchange) == "Exchange(status=200, failure=None, total_ms=12.3)"


def test_repr_of_a_failure_holds_nothing_of_its_detail() -> None:
    exchange = Exchange(failure=FailureKind.TLS_CERTIFICATE, failure_detail="hunter2")

    assert repr(exchange) == "Exchange(status=None, failure=tls_certificate, total_ms=0.0)"


def test_failure_kinds_are_stable() -> None:
    assert [kind.value for kind in FailureKind] == [
        "dns_failure", "connection_refused", "connection_failed", "connect_timeout", "tls_failure", "tls_certificate",
        "timeout", "connection_reset", "empty_response", "invalid_response", "response_too_large", "address_blocked",
        "credentials_unavailable", "lease_expired", "held_up", "internal_error",
    ]  # fmt: skip
