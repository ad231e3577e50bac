"""HTTP/2 where the partner offers it: many requests on one connection, under the rules of each, and when it is not used."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import Future

import pytest

from deliveries.transport.request import ClientCertificate
from notifier.policy.exchange import Exchange, FailureKind
from tests.integration.transport.certificates import HTTP2, Authority
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, new_engine, outgoing
from tests.support.h2_server import Speaks2, Stream
from tests.support.raw_server import OK, Connection, RawServer, answering
from tests.support.waiting import wait_until


async def ok(stream: Stream) -> None:
    await stream.answer()


class Gate:
    """Answers nobody until it is opened, but for ``/warm``, and ``/last``, which is the connection's last request."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    async def __call__(self, stream: Stream) -> None:
        if stream.path == "/last":
            await stream.answer_and_go_away()
            return
        if stream.path != "/warm":
            await self._open.wait()
        await stream.answer()

    def open(self, partner: RawServer) -> None:
        partner.call(self._open.set)


def at_once(sender: Sender, partner: RawServer, count: int) -> list[Future[Exchange]]:
    return [sender.engine.submit(outgoing(partner.url(f"/{number}"), total=20)) for number in range(count)]


def statuses(futures: list[Future[Exchange]]) -> list[int | None]:
    return [future.result(PATIENCE_SECONDS).status for future in futures]


def test_many_requests_are_on_one_connection_at_the_same_time(trusting: Sender, authority: Authority) -> None:
    gate = Gate()
    speaks = Speaks2(gate)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        trusting.send(partner.url("/warm"))
        futures = at_once(trusting, partner, 60)
        wait_until(lambda: len(speaks.streams) == 61, seconds=5, what="all of them under way")
        gate.open(partner)

        assert statuses(futures) == [200] * 60
    assert partner.connections == 1
    assert sorted(speaks.paths()) == sorted(["/warm", *(f"/{number}" for number in range(60))])


def test_a_new_connection_is_shared_before_its_first_answer(trusting: Sender, authority: Authority) -> None:
    """The usual case of a slow partner: whoever waits for an answer has not ended, so nothing is known of its connection."""
    gate = Gate()
    speaks = Speaks2(gate)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        trusting.send(partner.url("/last"))
        futures = at_once(trusting, partner, 60)
        wait_until(lambda: len(speaks.streams) == 61, seconds=5, what="all of them under way")
        gate.open(partner)

        assert statuses(futures) == [200] * 60
    assert partner.connections == 2


def test_what_exceeds_the_partner_s_streams_takes_another_connection(trusting: Sender, authority: Authority) -> None:
    gate = Gate()
    speaks = Speaks2(gate, max_streams=100)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        trusting.send(partner.url("/warm"))
        futures = at_once(trusting, partner, 250)
        wait_until(lambda: len(speaks.streams) == 251, seconds=5, what="all of them under way")
        gate.open(partner)

        assert statuses(futures) == [200] * 250
    assert partner.connections == 3
    assert len(set(speaks.seen)) == 251


def test_a_partner_of_http_1_1_is_spoken_to_in_it(trusting: Sender, authority: Authority) -> None:
    """Nobody waits there for another's connection."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        if connection.number == 20:
            everyone.set()
        await everyone.wait()
        await connection.send(OK)

    for protocols in ((), ("http/1.1",)):
        everyone = asyncio.Event()
        with RawServer(handle, tls=authority.server(protocols=protocols)) as partner:
            assert statuses(at_once(trusting, partner, 20)) == [200] * 20
            assert partner.connections == 20


def test_http_without_tls_is_http_1_1(trusting: Sender) -> None:
    with RawServer(answering(OK)) as partner:
        assert trusting.send(partner.url()).status == 200

        assert partner.requests[0].line == b"POST / HTTP/1.1"
        assert partner.requests[0].header("upgrade") == []


def test_with_a_client_certificate_it_is_http_1_1_and_a_connection_of_its_own(
    trusting: Sender, authority: Authority
) -> None:
    certificate, key = authority.client("acme")
    client = ClientCertificate("acme", certificate.encode(), key.encode())
    gate = Gate()
    speaks = Speaks2(gate)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2, asks_for_client=True)) as partner:
        trusting.send(partner.url("/warm"))
        (waiting,) = at_once(trusting, partner, 1)
        wait_until(lambda: len(speaks.streams) == 2, seconds=5, what="a stream to be under way")
        as_acme = trusting.send(partner.url("/acme"), client=client)
        gate.open(partner)
        assert waiting.result(PATIENCE_SECONDS).status == 200
        as_nobody = trusting.send(partner.url("/warm"))

    assert (as_acme.status, as_nobody.status) == (200, 200)
    assert [seen for seen in speaks.seen if seen[2] == "/acme"] == [(2, "http/1.1", "/acme")]
    assert [number for number, version, _ in speaks.seen if version == "h2"] == [1, 1, 1]


@pytest.mark.parametrize("in_use", [False, True], ids=["kept", "in-use"])
@pytest.mark.parametrize("cidrs", [(), ("10.0.0.0/8", "127.0.0.2/32")], ids=["no-ranges", "other-ranges"])
def test_a_connection_is_not_for_a_partner_that_may_not_open_it(
    trusting: Sender, authority: Authority, in_use: bool, cidrs: tuple[str, ...]
) -> None:
    """Each request is judged by its own rules, and those that are under way on the connection go on."""
    gate = Gate()
    speaks = Speaks2(gate)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        trusting.send(partner.url("/warm"))
        futures = at_once(trusting, partner, 3 if in_use else 0)
        wait_until(lambda: len(speaks.streams) == 1 + len(futures), seconds=5, what="the streams to be under way")
        forbidden = trusting.send(partner.url("/forbidden"), cidrs=cidrs)
        gate.open(partner)

        assert statuses(futures) == [200] * len(futures)
    assert forbidden.failure is FailureKind.ADDRESS_BLOCKED
    assert forbidden.maybe_sent is False
    assert "/forbidden" not in speaks.paths() + speaks.paths("http/1.1")
    assert partner.connections == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_noticed(trusting: Sender, authority: Authority) -> None:
    """The usual end of a connection: no attempt fails of it, and HTTP/2 goes on."""
    speaks = Speaks2(ok)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        answers = []
        for number in range(5):
            answers.append(trusting.send(partner.url(f"/{number}")).status)
            partner.call(speaks.streams[-1].session.connection.reset)
            wait_until(partner.idle, seconds=5, what="the connection to be closed")

    assert answers == [200] * 5
    assert speaks.seen == [(number + 1, "h2", f"/{number}") for number in range(5)]


def test_a_connection_that_is_always_in_use_is_given_up_at_its_age(authority: Authority) -> None:
    """A change of DNS or of a rule must take effect with a partner whose connection is never idle. Nothing on it fails."""
    engine = new_engine(ca_file=str(authority.file), connection_max_age=1)
    sender, gate = Sender(engine), Gate()
    speaks = Speaks2(gate)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        assert sender.send(partner.url("/warm")).status == 200
        (always,) = at_once(sender, partner, 1)
        wait_until(
            lambda: sender.send(partner.url("/warm")).status == 200 and partner.connections == 2,
            seconds=5, what="a new connection", every=0.05,
        )  # fmt: skip
        assert sender.send(partner.url("/warm")).status == 200
        gate.open(partner)
        assert always.result(PATIENCE_SECONDS).status == 200
    engine.stop()

    on_the_first = [path for number, _, path in speaks.seen if number == 1]
    assert on_the_first[-1] == "/warm"
    assert [number for number, _, _ in speaks.seen] == sorted(number for number, _, _ in speaks.seen)
    assert speaks.seen[-1][0] == 2


def test_who_waits_for_another_s_handshake_ends_in_time(trusting: Sender, authority: Authority) -> None:
    """The partner accepts connections and says nothing any more. Nothing was sent, and the name had been looked up."""
    with RawServer(Speaks2(Gate()), tls=authority.server(protocols=HTTP2)) as partner:
        assert trusting.send(partner.url("/last")).status == 200
    with socket.create_server(("127.0.0.1", partner.port)):
        began = time.monotonic()
        request = outgoing(partner.url("/in"), total=5.0, connect=0.3)
        exchanges = [trusting.engine.submit(request).result for _ in range(4)]
        ended = [result(PATIENCE_SECONDS) for result in exchanges]

    assert time.monotonic() - began < 2
    assert {exchange.failure for exchange in ended} == {FailureKind.TLS_FAILURE, FailureKind.CONNECT_TIMEOUT}
    assert not any(exchange.maybe_sent for exchange in ended)
