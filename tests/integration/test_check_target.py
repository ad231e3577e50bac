"""manage.py check_target: the way of a delivery, step by step, and nothing sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from notifier import clock, dry_run
from notifier.models import Partner
from tests.integration.transport.certificates import Authority
from tests.support.egress_proxy import EgressProxy
from tests.support.factories import make_partner
from tests.support.raw_server import Connection, RawServer
from tests.support.servers import free_port
from tests.unit.cases import case

pytestmark = pytest.mark.django_db


class Listening(RawServer):
    """A partner that says nothing, and remembers every byte that it is told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(self._listen, **options)
        self.heard = b""

    async def _listen(self, connection: Connection) -> None:
        while told := await asyncio.wait_for(connection.read(), 10):
            self.heard += told


@pytest.fixture
def partner() -> Partner:
    return make_partner(
        partner_id="acme", allow_hosts=["127.0.0.1:*", "*.test:*"], allow_private_cidrs=["127.0.0.1/32"]
    )


@pytest.fixture
def authority(tmp_path: Path, settings: Any) -> Authority:
    made = Authority(tmp_path)
    settings.NOTIFIER_CA_FILE = str(made.file)
    return made


def _steps(url: str, partner: Partner, *addresses: str) -> list[dry_run.Step]:
    return list(dry_run.steps(url, partner, now=clock.now(), look_up=lambda host: addresses))


def _check(capsys: pytest.CaptureFixture[str], url: str) -> tuple[int, list[str]]:
    """The exit code, and the lines."""
    code = 0
    try:
        call_command("check_target", url, "--partner", "acme")
    except SystemExit as end:
        code = int(str(end.code))
    return code, capsys.readouterr().out.splitlines()


def test_the_whole_way_to_a_partner_with_tls(partner: Partner, authority: Authority) -> None:
    with Listening(tls=authority.server(name="partner.test")) as server:
        steps = _steps(server.url(host="partner.test"), partner, "127.0.0.1")

    assert [(step.name, step.ok) for step in steps] == [
        (name, True) for name in ("URL", "allow-list", "DNS", "address", "TCP", "TLS", "certificate")
    ]
    assert steps[2].found == "partner.test stands for 127.0.0.1"
    assert steps[4].found == f"connected to 127.0.0.1 port {server.port}"
    assert steps[5].found.startswith("TLSv1.3, ")
    assert steps[6].found.startswith("for partner.test, 127.0.0.1, issued by CN=authority, valid until ")
    assert server.heard == b""


def test_the_way_without_tls_as_the_command_shows_it(partner: Partner, capsys: pytest.CaptureFixture[str]) -> None:
    with Listening() as server:
        code, lines = _check(capsys, server.url("/in?x=1"))

    assert code == 0
    assert lines == [
        f"ok   URL         {server.url('/in?x=1')} is what would be sent",
        "ok   allow-list  an entry of acme's allow_hosts admits it",
        "ok   DNS         127.0.0.1 is an address; nothing to look up",
        "ok   address     all may be connected to",
        f"ok   TCP         connected to 127.0.0.1 port {server.port}",
        "Nothing was sent. A delivery would go this way.",
    ]
    assert (server.connections, server.heard) == (1, b"")


@pytest.mark.parametrize(
    ("url", "step", "found"),
    [
        case("ftp://x", "URL", "its scheme is 'ftp'", id="url"),
        case("http://user@x/", "URL", "it has a user name", id="user"),
        case("https://other.example/", "allow-list", "no entry of its allow_hosts names", id="allow-list"),
        case("https://name.test/", "DNS", "name.test has no address", id="dns"),
    ],
)
def test_the_first_step_that_is_not_in_order_is_the_last(partner: Partner, url: str, step: str, found: str) -> None:
    steps = _steps(url, partner)

    assert [taken.ok for taken in steps] == [True] * (len(steps) - 1) + [False]
    assert steps[-1].name == step
    assert found in steps[-1].found


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        case(("127.0.0.1", "127.0.0.2"), "127.0.0.2 may not be connected to: it is in 127.0.0.0/8", id="one-of-two"),
        case(("169.254.169.254",), "it is a cloud metadata address", id="metadata"),
        case(("fe80::1%eth0",), "it is not a publicly routable address", id="zone"),
    ],
)
def test_an_address_that_may_not_be_connected_to_is_not(
    partner: Partner, addresses: tuple[str, ...], reason: str
) -> None:
    with Listening() as server:
        steps = _steps(server.url(host="name.test"), partner, *addresses)

    assert (steps[-1].name, steps[-1].ok) == ("address", False)
    assert reason in steps[-1].found
    assert server.connections == 0


def test_a_name_that_nobody_knows(partner: Partner) -> None:
    def look_up(host: str) -> tuple[str, ...]:
        raise OSError("no such name")

    *_, last = dry_run.steps("https://name.test/", partner, now=clock.now(), look_up=look_up)

    assert (last.name, last.ok) == ("DNS", False)
    assert last.found.startswith("name.test cannot be looked up: no such name.")


def test_a_port_on_which_nobody_listens(partner: Partner, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = _check(capsys, f"http://127.0.0.1:{free_port()}/")

    assert code == 1
    assert lines[-2].startswith("FAIL TCP         no connection to 127.0.0.1 port ")
    assert lines[-1] == "Nothing was sent. A delivery would fail here."


@pytest.mark.parametrize(
    ("host", "options", "reason"),
    [
        case("partner.test", {"expired": True}, "certificate has expired. for partner.test, 127.0.0.1", id="expired"),
        case("other.test", {}, "Hostname mismatch", id="another-name"),
        case("partner.test", {"self_signed": True}, "self-signed certificate", id="self-signed"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_described(
    partner: Partner, authority: Authority, host: str, options: dict[str, Any], reason: str
) -> None:
    with Listening(tls=authority.server(**options)) as server:
        steps = _steps(server.url(host=host), partner, "127.0.0.1")

    assert (steps[-1].name, steps[-1].ok) == ("certificate", False)
    assert reason in steps[-1].found
    assert "valid until" in steps[-1].found
    assert server.heard == b""


def test_a_server_that_knows_no_tls(partner: Partner) -> None:
    async def plain(connection: Connection) -> None:
        await connection.read()
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(plain) as server:
        steps = _steps(server.url().replace("http:", "https:"), partner)

    assert (steps[-1].name, steps[-1].ok) == ("TLS", False)


def test_the_way_by_a_proxy(partner: Partner, authority: Authority, settings: Any) -> None:
    with EgressProxy() as proxy, Listening(tls=authority.server()) as server:
        settings.NOTIFIER_EGRESS_PROXY = f"http://user:secret@127.0.0.1:{proxy.port}"
        steps = _steps(server.url(host="partner.test"), partner, "127.0.0.1")

    assert all(step.ok for step in steps)
    assert (
        steps[4].found == f"connected to 127.0.0.1 port {server.port} by the egress proxy 127.0.0.1 port {proxy.port}"
    )
    assert proxy.targets == [f"127.0.0.1:{server.port}"]
    assert "secret" not in str(steps)


def test_a_proxy_that_refuses(partner: Partner, settings: Any) -> None:
    with EgressProxy(refusal=b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy:
        settings.NOTIFIER_EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"
        steps = _steps("http://127.0.0.1:81/", partner)

    assert (steps[-1].name, steps[-1].ok) == ("TCP", False)
    assert steps[-1].found.endswith("does not connect to 127.0.0.1:81: HTTP/1.1 403 Forbidden")


def test_an_unknown_partner_is_refused() -> None:
    with pytest.raises(CommandError, match="There is no partner 'acme'"):
        call_command("check_target", "https://x.example/", "--partner", "acme")


def test_a_disabled_partner_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    make_partner(partner_id="acme", enabled=False)

    code, lines = _check(capsys, "https://other.example/")

    assert code == 1
    assert "note: the partner is disabled; it is sent nothing." in lines
