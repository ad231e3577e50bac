"""Connections are kept and used again; a request never goes out twice, and one partner's connection is not another's."""

from __future__ import annotations

import asyncio

import pytest

from notifier.policy.exchange import Exchange, FailureKind
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, outgoing
from tests.support.raw_server import OK, Connection, Handler, RawServer, answering
from tests.support.waiting import wait_until

_case = pytest.param


def _lines(partner: RawServer) -> list[tuple[int, bytes]]:
    """(connection, path) of each request."""
    return [(received.connection, received.line.split(b" ")[1]) for received in partner.requests]


def test_a_connection_is_used_again(sender: Sender) -> None:
    with RawServer(answering(OK)) as partner:
        first, second, third = (sender.send(partner.url(path)).timing for path in ("/1", "/2", "/3"))

    assert partner.connections == 1
    assert first.connect_ms > 0
    for later in (second, third):
        assert (later.dns_ms, later.connect_ms, later.tls_ms) == (0, 0, 0)
        assert 0 < later.ttfb_ms <= later.total_ms


def test_what_a_transfer_was_told_is_forgotten_by_the_next(sender: Sender) -> None:
    """Handles are used again as well: nothing of a request may show in the next one."""
    with RawServer(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as partner:
        sender.send(partner.url("/1"), "PUT", b"secret", headers={"Authorization": "secret", "X-One": "secret"})
        sender.send(partner.url("/2"), "GET", None)
        sender.send(partner.url("/3"), "HEAD", None)
        sender.send(partner.url("/4"), "POST", None)

    later = partner.requests[1:]
    assert [received.line for received in later] == [b"GET /2 HTTP/1.1", b"HEAD /3 HTTP/1.1", b"POST /4 HTTP/1.1"]
    for received in later:
        assert b"secret" not in received.head
        assert received.body == b""
        assert received.header("content-length") == ([b"0"] if received.line.startswith(b"POST") else [])


def test_a_connection_that_the_partner_closed_is_not_used_again(sender: Sender) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)

    with RawServer(handle) as partner:
        statuses = [sender.send(partner.url(path)).status for path in ("/1", "/2", "/3")]

    assert statuses == [200, 200, 200]
    assert _lines(partner) == [(1, b"/1"), (2, b"/2"), (3, b"/3")]


@pytest.mark.parametrize(
    "answer",
    [
        _case(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 99_999, id="cut-body"),
        _case(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="bad-length"),
        _case(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n", id="rest"),
    ],
)  # fmt: skip
def test_what_is_left_on_a_connection_is_never_the_answer_to_the_next_request(sender: Sender, answer: bytes) -> None:
    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer if connection.number == 1 else OK)
        await connection.request()
        await connection.send(OK)

    with RawServer(handle) as partner:
        sender.send(partner.url("/1"), total=1.0)
        second = sender.send(partner.url("/2"))

    assert (second.status, second.body) == (200, b"ok")
    assert _lines(partner) == [(1, b"/1"), (2, b"/2")]


def _breaks_the_second(*, reset: bool) -> Handler:
    """Answer a connection's first request; read the second whole, and end the connection without a word."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()
        if reset:
            connection.reset()

    return handle


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(("method", "body"), [("POST", b"pay"), ("PUT", b"pay"), ("GET", None), ("HEAD", None)])
def test_a_request_is_not_sent_again_when_its_kept_connection_breaks(
    sender: Sender, method: str, body: bytes | None, reset: bool
) -> None:
    """libcurl would open a new connection and send it once more, unseen by the record of attempts."""
    with RawServer(_breaks_the_second(reset=reset)) as partner:
        sender.send(partner.url("/1"))
        exchange = sender.send(partner.url("/2"), method, body)

    assert exchange.failure is FailureKind.CONNECTION_RESET
    assert exchange.maybe_sent is True
    assert _lines(partner) == [(1, b"/1"), (1, b"/2")]


def test_nor_on_one_kept_connection_after_the_other(sender: Sender) -> None:
    """Ten kept connections that all break: libcurl would go through six of them."""
    everyone = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.request()
        if connection.number == 10:
            everyone.set()
        await everyone.wait()
        await connection.send(OK)
        await connection.request()

    with RawServer(handle) as partner:
        warm = [sender.engine.submit(outgoing(partner.url("/warm"))) for _ in range(10)]
        assert [future.result(PATIENCE_SECONDS).status for future in warm] == [200] * 10
        exchange = sender.send(partner.url("/once"))

    assert exchange.failure is FailureKind.CONNECTION_RESET
    assert [path for _, path in _lines(partner)].count(b"/once") == 1


def test_a_partner_that_breaks_kept_connections_gets_new_ones(sender: Sender) -> None:
    """One failed attempt tells; from then on each request has a connection of its own. Others keep theirs."""
    with RawServer(_breaks_the_second(reset=False)) as partner, RawServer(answering(OK)) as other:
        exchanges = [sender.send(partner.url(f"/{number}")) for number in range(6)]
        others = [sender.send(other.url(f"/{number}")).status for number in range(3)]

    assert [exchange.status for exchange in exchanges] == [200, None, 200, 200, 200, 200]
    assert _lines(partner) == [(1, b"/0"), (1, b"/1"), (2, b"/2"), (3, b"/3"), (4, b"/4"), (5, b"/5")]
    assert others == [200, 200, 200]
    assert other.connections == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_noticed(sender: Sender) -> None:
    """The usual end of a kept connection: no attempt fails of it."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)

    with RawServer(handle) as partner:
        statuses = []
        for number in range(1, 6):
            statuses.append(sender.send(partner.url(f"/{number}")).status)
            wait_until(partner.idle, seconds=5, what="the partner to have closed the connection")

    assert statuses == [200] * 5
    assert partner.connections == 5


def test_an_answer_that_nobody_asked_for_is_not_the_next_request_s(sender: Sender) -> None:
    """Some servers say 408 into an idle connection before they close it."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        if connection.number == 1:
            await answered.wait()
            await connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            sent.append(connection.number)
        await connection.closed()

    answered, sent = asyncio.Event(), list[int]()
    with RawServer(handle) as partner:
        first = sender.send(partner.url("/1"))
        partner.call(answered.set)
        wait_until(lambda: sent, seconds=5, what="the unasked answer")
        second = sender.send(partner.url("/2"))

    assert (first.status, second.status) == (200, 200)
    assert _lines(partner) == [(1, b"/1"), (2, b"/2")]


def _blocked(exchange: Exchange) -> None:
    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert exchange.maybe_sent is False
    assert exchange.failure_detail == (
        "127.0.0.1 may not be connected to: it is in 127.0.0.0/8, which is not publicly routable"
    )


def test_a_connection_is_not_for_a_partner_that_may_not_open_it(sender: Sender) -> None:
    with RawServer(answering(OK)) as partner:
        allowed = sender.send(partner.url("/allowed"))
        forbidden = sender.send(partner.url("/forbidden"), cidrs=())
        other_range = sender.send(partner.url("/other-range"), cidrs=("10.0.0.0/8", "127.0.0.2/32"))
        again = sender.send(partner.url("/again"))

    assert (allowed.status, again.status) == (200, 200)
    _blocked(forbidden)
    _blocked(other_range)
    assert [path for _, path in _lines(partner)] == [b"/allowed", b"/again"]


def test_the_same_while_the_connection_is_in_use(sender: Sender) -> None:
    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await answer.wait()
        await connection.send(b"ok")

    answer = asyncio.Event()
    with RawServer(handle) as partner:
        under_way = sender.engine.submit(outgoing(partner.url("/allowed")))
        wait_until(lambda: partner.requests, seconds=5, what="the request to arrive")
        forbidden = sender.send(partner.url("/forbidden"), cidrs=())
        partner.call(answer.set)
        allowed = under_way.result(PATIENCE_SECONDS)

    assert (allowed.status, allowed.body) == (200, b"ok")
    _blocked(forbidden)
    assert _lines(partner) == [(1, b"/allowed")]
    assert partner.connections == 1
