"""What the installation says about where requests go: denied ranges, its own listeners, a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deliveries.transport.egress import Egress, host_and_port, proxy_at
from deliveries.transport.engine import Engine
from notifier.listeners import Endpoint, Endpoints
from notifier.policy.exchange import FailureKind
from tests.integration.transport.certificates import Authority
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, new_engine, outgoing
from tests.support.egress_proxy import EgressProxy
from tests.support.raw_server import OK, RawServer, answering
from tests.support.servers import free_port

NewSender = Callable[..., Sender]


@pytest.fixture
def new_sender() -> Iterator[NewSender]:
    engines: list[Engine] = []

    def make(egress: Egress, *, ca_file: str | None = None, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Sender:
        engines.append(new_engine(ca_file=ca_file, egress=egress, look_up=lambda name: addresses))
        return Sender(engines[-1])

    yield make
    for engine in engines:
        engine.stop()


def test_no_range_opens_where_the_service_listens(new_sender: NewSender) -> None:
    """By its address, by a name, by another address of the machine, mapped, and by the unspecified one."""
    with RawServer(answering(OK)) as database, RawServer(answering(OK)) as partner:
        own = Endpoints([Endpoint("127.0.0.1", database.port)])
        sender = new_sender(Egress(is_own_listener=own.has))
        cidrs = ("127.0.0.0/8", "0.0.0.0/8", "::/128")
        hosts = ("127.0.0.1", "name.test", "127.5.5.5", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]")
        refused = [sender.send(database.url(host=host), cidrs=cidrs) for host in hosts]
        allowed = sender.send(partner.url(), cidrs=cidrs)

    assert [exchange.failure for exchange in refused] == [FailureKind.ADDRESS_BLOCKED] * len(hosts)
    assert {exchange.failure_detail.rpartition(": ")[2] for exchange in refused} == {
        "the notifier itself listens there"
    }
    assert database.connections == 0
    assert allowed.status == 200


def test_a_denied_range_is_denied_to_those_who_opened_it(new_sender: NewSender) -> None:
    sender = new_sender(Egress(deny_cidrs=("127.0.0.1/32",)))

    with RawServer(answering(OK)) as inside:
        exchanges = [sender.send(inside.url(host=host)) for host in ("127.0.0.1", "name.test", "[::ffff:127.0.0.1]")]

    assert {exchange.failure for exchange in exchanges} == {FailureKind.ADDRESS_BLOCKED}
    assert inside.connections == 0


# --- The proxy ----------------------------------------------------------------------------------------------------


def _through(proxy: EgressProxy, **rules: object) -> Egress:
    return Egress(proxy=proxy_at(f"http://127.0.0.1:{proxy.port}"), **rules)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "name.test"])
@pytest.mark.parametrize(("method", "body"), [("POST", b"body"), ("GET", None), ("HEAD", None), ("HEAD", b"body")])
def test_a_request_goes_by_the_proxy_to_the_address_that_was_checked(
    new_sender: NewSender, host: str, method: str, body: bytes | None
) -> None:
    with EgressProxy() as proxy, RawServer(answering(OK)) as partner:
        exchange = new_sender(_through(proxy)).send(partner.url("/in/../x", host=host), method, body)

    assert exchange.status == 200
    assert exchange.maybe_sent is True
    assert "X-Proxy" not in dict(exchange.headers)
    assert proxy.targets == [f"127.0.0.1:{partner.port}"]
    (received,) = partner.requests
    assert received.line == f"{method} /in/../x HTTP/1.1".encode()
    assert received.header("host") == [f"{host}:{partner.port}".encode()]


def test_tls_is_between_worker_and_partner(new_sender: NewSender, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with EgressProxy() as proxy, RawServer(answering(OK), tls=authority.server(name="partner.test")) as partner:
        sender = new_sender(_through(proxy), ca_file=str(authority.file))
        right = sender.send(partner.url(host="partner.test"))
        wrong = sender.send(partner.url(host="other.test"))

    assert right.status == 200
    assert wrong.failure is FailureKind.TLS_CERTIFICATE
    assert wrong.maybe_sent is False
    assert proxy.targets == [f"127.0.0.1:{partner.port}"] * 2


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ()),
        ("[::1]", ()),
        ("[::ffff:127.0.0.1]", ()),
        ("localhost", ()),
        ("127.1", ()),
        ("name.test", ("127.0.0.1",)),
        ("name.test", ("127.0.0.2", "127.0.0.1")),
        ("name.test", ("127.0.0.2", "169.254.169.254")),
    ],
)
def test_the_guard_holds_with_a_proxy(new_sender: NewSender, host: str, addresses: tuple[str, ...]) -> None:
    with EgressProxy() as proxy, RawServer(answering(OK)) as inside:
        sender = new_sender(_through(proxy), addresses=addresses)
        exchange = sender.send(inside.url(host=host), cidrs=("127.0.0.2/32",))

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert exchange.maybe_sent is False
    assert (proxy.connections, inside.connections) == (0, 0)


def test_the_installations_rules_hold_with_a_proxy(new_sender: NewSender) -> None:
    with EgressProxy() as proxy, RawServer(answering(OK)) as inside:
        own = Endpoints([Endpoint("127.0.0.1", inside.port)])
        exchanges = [
            new_sender(_through(proxy, is_own_listener=own.has)).send(inside.url()),
            new_sender(_through(proxy, deny_cidrs=("127.0.0.0/8",))).send(inside.url()),
        ]

    assert {exchange.failure for exchange in exchanges} == {FailureKind.ADDRESS_BLOCKED}
    assert (proxy.connections, inside.connections) == (0, 0)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_what_the_proxy_refuses_was_not_sent(new_sender: NewSender, status: int) -> None:
    with EgressProxy(refusal=f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()) as proxy:
        exchange = new_sender(_through(proxy)).send(f"http://127.0.0.1:{free_port()}/")

    assert exchange.failure is FailureKind.CONNECTION_FAILED
    assert exchange.failure_detail == f"the egress proxy answered {status}"
    assert exchange.maybe_sent is False


def test_the_proxys_credentials_are_sent_to_the_proxy_alone(new_sender: NewSender) -> None:
    with EgressProxy() as proxy, RawServer(answering(OK)) as partner:
        egress = Egress(proxy=proxy_at(f"http://user:p%40ss@127.0.0.1:{proxy.port}"))
        new_sender(egress).send(partner.url())

    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.asked[0]
    assert partner.requests[0].header("proxy-authorization") == []
    assert "p@ss" not in repr(egress)


def test_no_host_is_left_out_of_the_proxy_by_the_environment(
    new_sender: NewSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")

    with EgressProxy() as proxy, RawServer(answering(OK)) as partner:
        assert new_sender(_through(proxy)).send(partner.url()).status == 200

    assert len(proxy.asked) == 1


def test_a_kept_tunnel_is_used_again_for_the_same_address_only(new_sender: NewSender) -> None:
    with EgressProxy() as proxy, RawServer(answering(OK)) as partner:
        sender = new_sender(_through(proxy))
        for _ in range(3):
            assert sender.send(partner.url()).status == 200
        blocked = sender.engine.submit(outgoing(partner.url(), cidrs=())).result(PATIENCE_SECONDS)

    assert blocked.failure is FailureKind.ADDRESS_BLOCKED
    assert len(proxy.asked) == 1
    assert len(partner.requests) == 3


def test_no_url_is_no_proxy() -> None:
    assert proxy_at("") is None


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a.test/", ("a.test", 80)), ("https://a.test", ("a.test", 443)), ("HTTPS://A.test:8443/x", ("A.test", 8443)),
        ("http://[::1]:81/", ("::1", 81)), ("http://1.2.3.4/", ("1.2.3.4", 80)), ("no url", ("", 0)), ("http://a@b/", ("a@b", 80)),
    ],
)  # fmt: skip
def test_host_and_port(url: str, parts: tuple[str, int]) -> None:
    assert host_and_port(url) == parts
