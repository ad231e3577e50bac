"""Every way in which a network fails: its kind, whether bytes may have reached the partner, and never late."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifier.policy.exchange import Exchange, FailureKind
from tests.integration.transport.certificates import Authority
from tests.integration.transport.sending import Sender
from tests.support.raw_server import OK, Connection, Handler, RawServer, answering
from tests.support.servers import free_port

_case = pytest.param

TOTAL_SECONDS = 0.5
# The exchange is back this long after its deadline at the latest; a machine under load is late, not the engine.
GRACE_SECONDS = 1.0
HEAD = b"HTTP/1.1 200 OK\r\n"
DRIP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Failed:
    """What is asserted of every failure."""

    kind: FailureKind
    maybe_sent: bool


def _failed(exchange: Exchange, began: float) -> Failed:
    """The failure, which has nothing of a response and came back in time."""
    assert time.monotonic() - began < TOTAL_SECONDS + GRACE_SECONDS
    assert exchange.timing.total_ms < (TOTAL_SECONDS + GRACE_SECONDS) * 1000
    assert exchange.status is None
    assert (exchange.headers, exchange.body, exchange.body_truncated) == ((), b"", False)
    assert exchange.failure is not None
    assert exchange.failure_detail
    return Failed(exchange.failure, exchange.maybe_sent)


def _after_the_request(*pieces: bytes, reset: bool = False, silent: bool = False) -> Handler:
    """Read the request, send the pieces, then close the connection, reset it, or say nothing more."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        for piece in pieces:
            await connection.send(piece)
        if reset:
            connection.reset()
        if silent:
            await connection.closed()

    return handle


def _dripping(*pieces: bytes, drop: bytes) -> Handler:
    """Read the request, send the pieces, then a drop each 50 ms, for ever."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        for piece in pieces:
            await connection.send(piece)
        while True:
            await connection.send(drop)
            await asyncio.sleep(DRIP_SECONDS)

    return handle


SENT = {
    "never-answers": (FailureKind.TIMEOUT, _after_the_request(silent=True)),
    "stops-in-the-status-line": (FailureKind.TIMEOUT, _after_the_request(b"HTTP/1", silent=True)),
    "stops-in-the-head": (FailureKind.TIMEOUT, _after_the_request(HEAD, silent=True)),
    "stops-in-the-body": (FailureKind.TIMEOUT, _after_the_request(HEAD, b"Content-Length: 9\r\n\r\nab", silent=True)),
    "switches-protocols": (FailureKind.TIMEOUT, _after_the_request(b"HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\n", silent=True)),
    "drips-the-status-line": (FailureKind.TIMEOUT, _dripping(b"HTTP/1.1 200 ", drop=b"O")),
    "drips-a-header": (FailureKind.TIMEOUT, _dripping(HEAD, b"X-Drip: ", drop=b".")),
    "drips-headers": (FailureKind.TIMEOUT, _dripping(HEAD, drop=b"X-Drip: .\r\n")),
    "drips-interim-responses": (FailureKind.TIMEOUT, _dripping(drop=b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n")),
    "drips-the-body": (FailureKind.TIMEOUT, _dripping(HEAD, b"Content-Length: 1000000000\r\n\r\n", drop=b".")),
    "drips-chunks": (FailureKind.TIMEOUT, _dripping(HEAD, b"Transfer-Encoding: chunked\r\n\r\n", drop=b"1\r\n.\r\n")),
    "drips-a-body-without-end": (FailureKind.TIMEOUT, _dripping(HEAD, b"\r\n", drop=b".")),
    "resets": (FailureKind.CONNECTION_RESET, _after_the_request(reset=True)),
    "resets-in-the-head": (FailureKind.CONNECTION_RESET, _after_the_request(HEAD, b"X-A: b\r\n", reset=True)),
    "resets-in-the-body": (
        FailureKind.CONNECTION_RESET,
        _after_the_request(HEAD, b"Content-Length: 9\r\n\r\nab", reset=True),
    ),
    "closes-after-the-status-line": (FailureKind.CONNECTION_RESET, _after_the_request(HEAD)),
    "closes-in-the-head": (FailureKind.CONNECTION_RESET, _after_the_request(HEAD, b"Content-Le")),
    "closes-before-the-empty-line": (FailureKind.CONNECTION_RESET, _after_the_request(HEAD, b"Content-Length: 0\r\n")),
    "closes-in-the-body": (FailureKind.CONNECTION_RESET, _after_the_request(HEAD, b"Content-Length: 9\r\n\r\nab")),
    "closes-in-a-chunk": (
        FailureKind.CONNECTION_RESET,
        _after_the_request(HEAD, b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
    ),
    "closes-before-the-last-chunk": (
        FailureKind.CONNECTION_RESET,
        _after_the_request(HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
    ),
    "closes": (FailureKind.EMPTY_RESPONSE, _after_the_request()),
    "closes-in-the-status-line": (FailureKind.EMPTY_RESPONSE, _after_the_request(b"HTTP/1")),
    "is-not-http": (FailureKind.INVALID_RESPONSE, _after_the_request(b"SSH-2.0-OpenSSH_9.9\r\n")),
    "is-a-page-without-a-head": (FailureKind.INVALID_RESPONSE, _after_the_request(b"<html>hello</html>")),
    "header-without-colon": (FailureKind.INVALID_RESPONSE, _after_the_request(HEAD, b"hello\r\n\r\n")),
    "nul-in-a-header": (FailureKind.INVALID_RESPONSE, _after_the_request(HEAD, b"X-A: \0\r\n\r\n")),
    "bad-content-length": (FailureKind.INVALID_RESPONSE, _after_the_request(HEAD, b"Content-Length: \xff\r\n\r\n")),
    "two-content-lengths": (
        FailureKind.INVALID_RESPONSE,
        _after_the_request(HEAD, b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ),
    "not-gzip": (
        FailureKind.INVALID_RESPONSE,
        _after_the_request(HEAD, b"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzip, no"),
    ),
    "broken-gzip": (
        FailureKind.INVALID_RESPONSE,
        _after_the_request(HEAD, b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", gzip.compress(b"ok")[:10] + b"\xff" * 9),
    ),
    "unknown-encoding": (
        FailureKind.INVALID_RESPONSE,
        _after_the_request(HEAD, b"Content-Encoding: rot13\r\nContent-Length: 2\r\n\r\nab"),
    ),
    "ten-thousand-headers": (
        FailureKind.RESPONSE_TOO_LARGE,
        _after_the_request(HEAD, b"".join(b"X-%d: x\r\n" % number for number in range(10_000)), b"\r\n"),
    ),
    "a-header-of-a-megabyte": (
        FailureKind.RESPONSE_TOO_LARGE,
        _after_the_request(HEAD, b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "handler"), [_case(*case, id=name) for name, case in SENT.items()])
def test_failures_after_the_request_was_sent(sender: Sender, kind: FailureKind, handler: Handler) -> None:
    with RawServer(handler) as partner:
        began = time.monotonic()
        exchange = sender.send(partner.url("/in"), total=TOTAL_SECONDS)

    assert _failed(exchange, began) == Failed(kind, maybe_sent=True)
    assert exchange.remote_ip == "127.0.0.1"
    assert [received.line for received in partner.requests] == [b"POST /in HTTP/1.1"]


def test_nobody_listens(sender: Sender) -> None:
    began = time.monotonic()
    exchange = sender.send(f"http://127.0.0.1:{free_port()}/", total=TOTAL_SECONDS)

    assert _failed(exchange, began) == Failed(FailureKind.CONNECTION_REFUSED, maybe_sent=False)


def test_an_unknown_host(sender: Sender) -> None:
    began = time.monotonic()
    exchange = sender.send("http://no-such-partner.invalid/", total=TOTAL_SECONDS)

    assert _failed(exchange, began) == Failed(FailureKind.DNS_FAILURE, maybe_sent=False)
    assert exchange.remote_ip is None


def test_no_way_to_the_address(sender: Sender) -> None:
    """The kernel refuses to connect to a broadcast address; no packet leaves the machine."""
    began = time.monotonic()
    exchange = sender.send("http://255.255.255.255/", total=TOTAL_SECONDS, cidrs=("255.255.255.255/32",))

    assert _failed(exchange, began) == Failed(FailureKind.CONNECTION_FAILED, maybe_sent=False)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose backlog is full: the kernel drops further SYNs, as a firewall does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("total", "connect"), [_case(30.0, TOTAL_SECONDS, id="connect-time-out"), _case(TOTAL_SECONDS, 30.0, id="total-time-out")]
)  # fmt: skip
def test_no_answer_to_the_connect(sender: Sender, deaf_port: int, total: float, connect: float) -> None:
    began = time.monotonic()
    exchange = sender.send(f"http://127.0.0.1:{deaf_port}/", total=total, connect=connect)

    assert _failed(exchange, began) == Failed(FailureKind.CONNECT_TIMEOUT, maybe_sent=False)
    assert exchange.timing.total_ms >= TOTAL_SECONDS * 1000 - 1


async def _greets(connection: Connection) -> None:
    await connection.send(b"220 mail.example ESMTP\r\n")
    await connection.closed()


async def _answers_in_plain_text(connection: Connection) -> None:
    await connection.read()
    await connection.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


async def _says_nothing(connection: Connection) -> None:
    await connection.closed()


async def _closes(connection: Connection) -> None:
    await connection.read()


async def _resets(connection: Connection) -> None:
    await connection.read()
    connection.reset()


@pytest.mark.parametrize(
    "handler",
    [
        _case(_greets, id="greets"),
        _case(_answers_in_plain_text, id="answers-in-plain-text"),
        _case(_says_nothing, id="says-nothing"),
        _case(_closes, id="closes"),
        _case(_resets, id="resets"),
    ],
)
def test_tls_to_a_port_without_tls(sender: Sender, handler: Handler) -> None:
    with RawServer(handler) as partner:
        began = time.monotonic()
        exchange = sender.send(partner.url().replace("http:", "https:"), total=TOTAL_SECONDS)

    assert _failed(exchange, began) == Failed(FailureKind.TLS_FAILURE, maybe_sent=False)
    assert partner.connections == 1


def test_a_certificate_of_a_trusted_authority_is_taken(trusting: Sender, authority: Authority) -> None:
    with RawServer(answering(OK), tls=authority.server()) as partner:
        first, second = (trusting.send(partner.url("/in")) for _ in range(2))

    assert (first.status, second.status) == (200, 200)
    assert first.timing.tls_ms > 0
    assert second.timing.tls_ms == 0
    assert partner.connections == 1
    assert [received.line for received in partner.requests] == [b"POST /in HTTP/1.1"] * 2


def _refuses(sender: Sender, server: ssl.SSLContext) -> None:
    with RawServer(answering(OK), tls=server) as partner:
        began = time.monotonic()
        exchange = sender.send(partner.url(), total=TOTAL_SECONDS)

    assert _failed(exchange, began) == Failed(FailureKind.TLS_CERTIFICATE, maybe_sent=False)
    assert partner.requests == []


def test_an_expired_certificate(trusting: Sender, authority: Authority) -> None:
    _refuses(trusting, authority.server(expired=True))


def test_a_certificate_for_another_name(trusting: Sender, authority: Authority) -> None:
    _refuses(trusting, authority.server(address="127.0.0.2"))


def test_a_self_signed_certificate(trusting: Sender, authority: Authority) -> None:
    _refuses(trusting, authority.server(self_signed=True))


def test_a_certificate_of_an_authority_that_is_not_trusted(sender: Sender, authority: Authority) -> None:
    _refuses(sender, authority.server())


def test_tls_1_1_is_refused(trusting: Sender, authority: Authority) -> None:
    old = authority.server()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    with RawServer(answering(OK), tls=old) as partner:
        began = time.monotonic()
        exchange = trusting.send(partner.url(), total=TOTAL_SECONDS)

    assert _failed(exchange, began) == Failed(FailureKind.TLS_FAILURE, maybe_sent=False)
    assert partner.requests == []


def test_only_http_is_spoken(sender: Sender, tmp_path: Path) -> None:
    """Accept refuses other schemes long before; the engine does so again."""
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")

    for url in (f"file://{secret}", "gopher://127.0.0.1:1/", "ftp://127.0.0.1:1/", "ws://127.0.0.1:1/"):
        exchange = sender.send(url, total=TOTAL_SECONDS)

        assert exchange.failure is FailureKind.INVALID_RESPONSE
        assert (exchange.status, exchange.body, exchange.maybe_sent) == (None, b"", False)


def test_every_kind_that_a_network_can_cause_is_shown_here() -> None:
    elsewhere = {
        FailureKind.ADDRESS_BLOCKED,  # test_guard
        FailureKind.CREDENTIALS,  # tests/integration/deliveries/test_credentials
        FailureKind.LEASE_EXPIRED,  # the sweeper's word
        FailureKind.HELD_UP,  # test_engine
        FailureKind.INTERNAL,  # ours
    }
    before_the_request = {
        FailureKind.CONNECTION_REFUSED,
        FailureKind.DNS_FAILURE,
        FailureKind.CONNECTION_FAILED,
        FailureKind.CONNECT_TIMEOUT,
        FailureKind.TLS_FAILURE,
        FailureKind.TLS_CERTIFICATE,
    }

    assert {kind for kind, _ in SENT.values()} == set(FailureKind) - elsewhere - before_the_request
