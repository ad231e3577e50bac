"""Which addresses are connected to: decided on the real address of each connection. A refusal is seen by nobody."""

from __future__ import annotations

import pytest

from notifier.policy.exchange import FailureKind
from tests.integration.transport.sending import Sender
from tests.support.raw_server import OK, RawServer, answering
from tests.support.servers import free_port

_case = pytest.param

NOT_ROUTABLE = "publicly routable"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::]",
    ],
)
@pytest.mark.parametrize("cidrs", [(), ("10.0.0.0/8", "127.0.0.2/32", "::2/128")], ids=["no-ranges", "other-ranges"])
def test_loopback_is_refused_in_every_spelling(sender: Sender, host: str, cidrs: tuple[str, ...]) -> None:
    with RawServer(answering(OK)) as partner:
        exchange = sender.send(partner.url(host=host), cidrs=cidrs)

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert NOT_ROUTABLE in exchange.failure_detail
    assert exchange.maybe_sent is False
    assert partner.connections == 0


@pytest.mark.parametrize(
    ("host", "cidrs"),
    [
        _case("[::1]", (), id="no-ranges"),
        _case("[::1]", ("127.0.0.0/8", "::2/128"), id="other-ranges"),
        _case("[0:0:0:0:0:0:0:1]", (), id="long-form"),
        _case("localhost", (), id="by-name"),
    ],
)
def test_ipv6_loopback_is_refused(sender: Sender, host: str, cidrs: tuple[str, ...]) -> None:
    with RawServer(answering(OK), host="::1") as partner:
        exchange = sender.send(partner.url(host=host), cidrs=cidrs)

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert NOT_ROUTABLE in exchange.failure_detail
    assert exchange.maybe_sent is False
    assert partner.connections == 0


@pytest.mark.parametrize(
    ("listens_on", "host", "cidr", "remote_ip"),
    [
        _case("127.0.0.1", "127.0.0.1", "127.0.0.0/8", "127.0.0.1", id="ipv4"),
        _case("127.0.0.1", "127.0.0.1", "127.0.0.1/32", "127.0.0.1", id="ipv4-only-this"),
        _case("127.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.0/8", "::ffff:127.0.0.1", id="mapped"),
        _case("::1", "[::1]", "::1/128", "::1", id="ipv6"),
        _case("127.0.0.1", "localhost", "127.0.0.0/8", "127.0.0.1", id="name-with-ipv4-allowed"),
        _case("::1", "localhost", "::1/128", "::1", id="name-with-ipv6-allowed"),
    ],
)
def test_a_named_range_is_open(sender: Sender, listens_on: str, host: str, cidr: str, remote_ip: str) -> None:
    """``localhost`` has two addresses; the one that is not allowed does not keep from the other."""
    with RawServer(answering(OK), host=listens_on) as partner:
        exchange = sender.send(partner.url(host=host), cidrs=(cidr,))

    assert exchange.status == 200
    assert exchange.remote_ip == remote_ip
    assert partner.connections == 1


@pytest.mark.parametrize(("cidr", "forbidden"), [("127.0.0.0/8", "::1"), ("::1/128", "127.0.0.1")])
def test_of_two_addresses_only_the_allowed_one_is_tried(sender: Sender, cidr: str, forbidden: str) -> None:
    """Its failure is the exchange's, and a temporary one: with DNS64 every partner has an address that is refused."""
    with RawServer(answering(OK), host=forbidden) as elsewhere:
        exchange = sender.send(elsewhere.url(host="localhost"), cidrs=(cidr,))

    assert exchange.failure is FailureKind.CONNECTION_REFUSED
    assert exchange.maybe_sent is False
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "100.64.0.1", "169.254.1.1", "172.16.0.1", "192.168.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "192.0.2.1", "[fc00::1]", "[fe80::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "[2001:db8::1]", "[::ffff:10.0.0.1]", "[::ffff:a00:1]",
    ],
)  # fmt: skip
def test_no_private_address_is_tried(sender: Sender, host: str) -> None:
    exchange = sender.send(f"http://{host}:{free_port()}/", cidrs=(), total=1.0)

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert NOT_ROUTABLE in exchange.failure_detail
    assert exchange.maybe_sent is False


@pytest.mark.parametrize(
    ("host", "cidr"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("169.254.169.254", "0.0.0.0/0"),
        ("[::ffff:169.254.169.254]", "::/0"),
        ("[fd00:ec2::254]", "fd00::/8"),
        ("168.63.129.16", "168.63.129.16/32"),
    ],
)
def test_no_range_opens_a_metadata_address(sender: Sender, host: str, cidr: str) -> None:
    exchange = sender.send(f"http://{host}/latest/meta-data/", "GET", None, cidrs=(cidr,), total=1.0)

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert exchange.failure_detail.endswith("it is a cloud metadata address")
    assert exchange.maybe_sent is False


def test_a_redirect_to_a_private_address_is_an_answer_like_any_other(sender: Sender) -> None:
    with RawServer(answering(OK), host="::1") as inside:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {inside.url()}\r\nContent-Length: 0\r\n\r\n".encode()
        with RawServer(answering(moved)) as partner:
            exchange = sender.send(partner.url(), cidrs=("127.0.0.0/8",))

    assert exchange.status == 307
    assert inside.connections == 0


@pytest.mark.parametrize("range_", ["nonsense", "127.0.0.1/8", "127.0.0.0/33", ""])
def test_a_range_that_cannot_be_read_opens_nothing_and_breaks_nothing(sender: Sender, range_: str) -> None:
    """What the partner's validation would have refused: a row that was written past it."""
    with RawServer(answering(OK)) as partner:
        refused = sender.send(partner.url("/refused"), cidrs=(range_,))
        sent = sender.send(partner.url("/sent"))
        refused_again = sender.send(partner.url("/refused"), cidrs=(range_,))

    assert refused.failure is FailureKind.ADDRESS_BLOCKED
    assert refused_again.failure is FailureKind.ADDRESS_BLOCKED
    assert sent.status == 200
    assert [received.line for received in partner.requests] == [b"POST /sent HTTP/1.1"]
