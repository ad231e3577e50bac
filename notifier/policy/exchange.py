"""An Exchange: what came back over the wire for one attempt, or how it failed."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class FailureKind(StrEnum):
    """How an attempt failed below HTTP. The value is the attempt's stable ``error_code``."""

    DNS_FAILURE = "dns_failure"  # the host name has no address, or the resolver did not answer
    CONNECTION_REFUSED = "connection_refused"  # nobody listens on that port
    CONNECTION_FAILED = "connection_failed"  # no route, host down, or another error before the connection stood
    CONNECT_TIMEOUT = "connect_timeout"  # no connection within the connect time-out
    TLS_FAILURE = "tls_failure"  # the TLS handshake failed, or a plain-text port answered
    TLS_CERTIFICATE = "tls_certificate"  # the certificate is expired, for another name, or from an unknown authority
    TIMEOUT = "timeout"  # connected, but no complete response within the total time-out
    CONNECTION_RESET = "connection_reset"  # the connection broke before the response was complete
    EMPTY_RESPONSE = "empty_response"  # the partner closed the connection without a byte of response
    INVALID_RESPONSE = "invalid_response"  # not HTTP, or an encoding that cannot be undone
    RESPONSE_TOO_LARGE = "response_too_large"  # the response's headers exceed what is read of them
    ADDRESS_BLOCKED = "address_blocked"  # the guard refused the address; nothing was sent
    CREDENTIALS = "credentials_unavailable"  # a secret or an access token could not be had; nothing was sent
    LEASE_EXPIRED = "lease_expired"  # the worker was lost; whether the partner got the request is unknown
    HELD_UP = "held_up"  # the worker was held up for so long that the lease could run out; nothing was sent
    INTERNAL = "internal_error"  # building the request raised; nothing was sent


class Timing(NamedTuple):
    """Milliseconds; each phase by itself, 0 where it did not happen (a reused connection has no dns, connect, tls)."""

    dns_ms: float = 0.0
    connect_ms: float = 0.0
    tls_ms: float = 0.0
    ttfb_ms: float = 0.0
    total_ms: float = 0.0


class Exchange(NamedTuple):
    """One attempt on the wire. Either ``status`` is set (a whole response came) or ``failure`` is.

    A tuple, for one is made with each delivery: a frozen dataclass takes four times as long.

    ``body`` holds the first bytes after decompression; ``body_truncated`` says that there was more. ``maybe_sent`` is
    True unless it is certain that no byte of the request reached the partner.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    body_truncated: bool = False
    timing: Timing = Timing()
    remote_ip: str | None = None
    failure: FailureKind | None = None
    failure_detail: str = ""
    maybe_sent: bool = True

    def header(self, name: str) -> str | None:
        """The first value of the header, whatever its case; None where it is absent."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def __repr__(self) -> str:
        """Without headers and body: a partner may echo credentials in them."""
        return f"Exchange(status={self.status}, failure={self.failure}, total_ms={self.timing.total_ms:.1f})"
