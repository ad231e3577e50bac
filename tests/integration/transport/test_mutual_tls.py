"""A client certificate is shown to the partner that it is for, and a connection made with it serves nobody else."""

from __future__ import annotations

import itertools
from concurrent.futures import Future

from deliveries.transport.engine import Engine
from deliveries.transport.request import ClientCertificate
from notifier.policy.exchange import Exchange, FailureKind
from tests.integration.transport.certificates import Authority
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, outgoing
from tests.support.raw_server import Connection, RawServer


async def who_are_you(connection: Connection) -> None:
    """Answers each request with the name in the client's certificate."""
    while True:
        await connection.request()
        name = (connection.client_name or "nobody").encode()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))


def as_client(authority: Authority, name: str, *, owner: str | None = None) -> ClientCertificate:
    certificate, key = authority.client(name)
    return ClientCertificate(owner or name, certificate.encode(), key.encode())


def test_each_client_is_itself_whatever_order_they_come_in(authority: Authority, trusting: Sender) -> None:
    clients = {"acme": as_client(authority, "acme"), "globex": as_client(authority, "globex"), "nobody": None}

    with RawServer(who_are_you, tls=authority.server(asks_for_client=True)) as partner:
        for first, second in itertools.product(clients, clients):
            for name in (first, second, first):
                exchange = trusting.send(partner.url(), client=clients[name])
                assert (exchange.status, exchange.body.decode()) == (200, name)


def test_many_at_once_are_each_themselves(authority: Authority, trusting: Sender) -> None:
    clients = {name: as_client(authority, name) for name in ("a", "b", "c", "d")}
    sent: list[tuple[str, Future[Exchange]]] = []

    with RawServer(who_are_you, tls=authority.server(asks_for_client=True)) as partner:
        for _ in range(5):
            for name, client in clients.items():
                sent += [(name, trusting.engine.submit(outgoing(partner.url(), client=client))) for _ in range(5)]
        answers = [(name, future.result(PATIENCE_SECONDS).body.decode()) for name, future in sent]

    assert [name for name, _ in answers] == [answer for _, answer in answers]


def test_a_clients_own_connection_is_used_again(authority: Authority, trusting: Sender) -> None:
    client = as_client(authority, "acme")
    # Equal, as one that was read anew from the store.
    again = ClientCertificate(client.owner, bytes(client.certificate), bytes(client.key))

    with RawServer(who_are_you, tls=authority.server(asks_for_client=True)) as partner:
        for each in (client, again, client):
            assert trusting.send(partner.url(), client=each).body == b"acme"

    assert partner.connections == 1


def test_two_partners_with_the_same_certificate_share_no_connection(authority: Authority, trusting: Sender) -> None:
    """libcurl would let them: to it they are the same."""
    mine = as_client(authority, "shared", owner="acme")
    yours = ClientCertificate("globex", mine.certificate, mine.key)

    with RawServer(who_are_you, tls=authority.server(asks_for_client=True)) as partner:
        for each in (mine, yours, mine):
            assert trusting.send(partner.url(), client=each).status == 200

        assert partner.connections == 3
        numbers = [received.connection for received in partner.requests]
    assert numbers == [1, 2, 3]


def test_a_certificate_that_cannot_be_used_is_a_failure_that_tells_nothing_of_it(
    authority: Authority, trusting: Sender
) -> None:
    certificate, _ = authority.client("acme")
    _, other_key = authority.client("globex")

    with RawServer(who_are_you, tls=authority.server(asks_for_client=True)) as partner:
        for cert, key in ((certificate, other_key), (certificate, "CANARY"), ("CANARY", other_key)):
            exchange = trusting.send(partner.url(), client=ClientCertificate("acme", cert.encode(), key.encode()))
            assert exchange.failure is FailureKind.CREDENTIALS
            assert not exchange.maybe_sent
            assert "CANARY" not in exchange.failure_detail
        assert partner.requests == []


def test_the_certificate_and_key_are_in_no_repr(authority: Authority) -> None:
    client = as_client(authority, "acme")

    assert "-----" not in repr(client)
    assert "-----" not in repr(outgoing("https://127.0.0.1/", client=client))


def test_an_engine_without_client_certificates_pays_nothing(sender: Sender) -> None:
    """What the partners without one share stays shared."""
    assert isinstance(sender.engine, Engine)
    with RawServer(who_are_you) as partner:
        for _ in range(3):
            assert sender.send(partner.url()).body == b"nobody"

    assert partner.connections == 1
