"""Host names: one lookup of a name at a time, within the deadline, and a silent name server is its own partner's trouble."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deliveries.transport.engine import Engine
from notifier.policy.exchange import FailureKind
from tests.integration.transport.certificates import Authority
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, new_engine, outgoing
from tests.support.raw_server import OK, Connection, RawServer, answering
from tests.support.waiting import wait_until

_case = pytest.param


class Directory:
    """Name servers in the hands of a test. A name in ``silent`` is not answered before ``speak`` is set."""

    def __init__(self) -> None:
        self.addresses: dict[str, tuple[str, ...]] = {"partner.test": ("127.0.0.1",), "other.test": ("127.0.0.1",)}
        self.silent: set[str] = set()
        self.speak = threading.Event()
        self.asked: list[str] = []

    def look_up(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host in self.silent:
            self.speak.wait(60)
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


@pytest.fixture
def directory() -> Iterator[Directory]:
    names = Directory()
    yield names
    names.speak.set()


@pytest.fixture
def engine(directory: Directory) -> Iterator[Engine]:
    running = new_engine(look_up=directory.look_up)
    yield running
    running.stop()


@pytest.fixture
def sender(engine: Engine) -> Sender:
    return Sender(engine)


def test_a_name_is_looked_up_once_for_many_requests(sender: Sender, directory: Directory) -> None:
    directory.silent = {"partner.test"}

    with RawServer(answering(OK)) as partner:
        url = partner.url(host="partner.test")
        futures = [sender.engine.submit(outgoing(url)) for _ in range(100)]
        wait_until(lambda: directory.asked, seconds=5, what="the lookup to begin")
        directory.speak.set()
        statuses = Counter(future.result(PATIENCE_SECONDS).status for future in futures)
        later = sender.send(url)

    assert statuses == {200: 100}
    assert later.status == 200
    assert later.timing.dns_ms == 0
    assert directory.asked == ["partner.test"]
    assert {received.header("host")[0] for received in partner.requests} == {f"partner.test:{partner.port}".encode()}


def test_the_case_of_a_name_means_nothing(sender: Sender, directory: Directory) -> None:
    with RawServer(answering(OK)) as partner:
        statuses = [
            sender.send(partner.url(host=host)).status for host in ("Partner.TEST", "partner.test", "PARTNER.test")
        ]

    assert statuses == [200, 200, 200]
    assert directory.asked == ["partner.test"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"])
def test_what_is_an_address_is_not_looked_up(sender: Sender, directory: Directory, host: str) -> None:
    with RawServer(answering(OK)) as partner:
        assert sender.send(partner.url(host=host)).status == 200

    assert directory.asked == []


def test_a_name_without_an_address_is_asked_for_anew_each_time(sender: Sender, directory: Directory) -> None:
    with RawServer(answering(OK)) as partner:
        url = partner.url(host="new.test")
        first = sender.send(url)
        directory.addresses["new.test"] = ("127.0.0.1",)
        second = sender.send(url)

    assert first.failure is FailureKind.DNS_FAILURE
    assert (first.maybe_sent, first.remote_ip) == (False, None)
    assert second.status == 200
    assert directory.asked == ["new.test", "new.test"]


def test_a_silent_name_server_holds_up_no_other_name(sender: Sender, directory: Directory) -> None:
    """libcurl's own resolver has twenty threads and uses two for each request: eleven of these stopped all lookups."""
    directory.silent = {"silent.test"}
    directory.addresses |= {f"partner-{number}.test": ("127.0.0.1",) for number in range(50)}

    with RawServer(answering(OK)) as partner:
        held = [sender.engine.submit(outgoing(partner.url(host="silent.test"), total=30)) for _ in range(300)]
        times = [sender.send(partner.url(host=f"partner-{number}.test")).timing.total_ms for number in range(50)]
        sender.engine.stop()

    assert not any(future.done() for future in held)
    assert directory.asked.count("silent.test") == 1
    assert max(times) < 500


@pytest.mark.parametrize(
    ("total", "connect"), [_case(0.3, 0.3, id="total-time-out"), _case(30.0, 0.3, id="connect-time-out")]
)
def test_a_lookup_ends_with_the_deadline(sender: Sender, directory: Directory, total: float, connect: float) -> None:
    directory.silent = {"partner.test"}

    with RawServer(answering(OK)) as partner:
        futures = [
            sender.engine.submit(outgoing(partner.url(host="partner.test"), total=total, connect=connect))
            for _ in range(20)
        ]
        exchanges = [future.result(PATIENCE_SECONDS) for future in futures]

    for exchange in exchanges:
        assert exchange.failure is FailureKind.DNS_FAILURE
        assert exchange.maybe_sent is False
        assert 300 <= exchange.timing.dns_ms == exchange.timing.total_ms < 1300
    assert partner.connections == 0


def test_a_late_answer_serves_the_next_request(sender: Sender, directory: Directory) -> None:
    directory.silent = {"partner.test"}

    with RawServer(answering(OK)) as partner:
        url = partner.url(host="partner.test")
        late = sender.send(url, total=0.1)
        waiting = sender.engine.submit(outgoing(url))
        directory.speak.set()
        status = waiting.result(PATIENCE_SECONDS).status

    assert late.failure is FailureKind.DNS_FAILURE
    assert status == 200
    assert directory.asked == ["partner.test"]
    assert len(partner.requests) == 1


def test_the_lookup_is_part_of_the_deadline_and_of_the_times(sender: Sender, directory: Directory) -> None:
    async def never(connection: Connection) -> None:
        await connection.request()
        await connection.closed()

    directory.silent = {"partner.test"}
    with RawServer(never) as partner:
        began = time.monotonic()
        future = sender.engine.submit(outgoing(partner.url(host="partner.test"), total=1.0))
        # Its time has begun.
        wait_until(lambda: directory.asked, seconds=PATIENCE_SECONDS, what="the lookup")
        threading.Timer(0.8, directory.speak.set).start()
        exchange = future.result(PATIENCE_SECONDS)
        took = time.monotonic() - began

    assert exchange.failure is FailureKind.TIMEOUT
    assert exchange.maybe_sent is True
    assert 0.999 <= took < 1.7
    assert 800 <= exchange.timing.dns_ms < exchange.timing.total_ms
    assert 999 <= exchange.timing.total_ms < 1700


@pytest.mark.parametrize(
    "addresses",
    [
        _case(("127.0.0.2", "127.0.0.1"), id="forbidden-first"),
        _case(("127.0.0.1", "127.0.0.2"), id="forbidden-last"),
        _case(("127.0.0.1", "127.0.0.1", "169.254.169.254"), id="metadata"),
        _case(("64:ff9b::7f00:1", "127.0.0.1"), id="dns64"),
        _case(("127.0.0.1", "nonsense"), id="not-an-address"),
    ],
)
def test_a_name_with_one_forbidden_address_is_refused(
    sender: Sender, directory: Directory, addresses: tuple[str, ...]
) -> None:
    directory.addresses["partner.test"] = addresses

    with RawServer(answering(OK)) as partner:
        exchange = sender.send(partner.url(host="partner.test"), cidrs=("127.0.0.1/32",))

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert exchange.failure_detail.startswith("partner.test stands for ")
    assert exchange.maybe_sent is False
    assert partner.connections == 0


def test_a_name_with_several_permitted_addresses_is_reached(sender: Sender, directory: Directory) -> None:
    directory.addresses["partner.test"] = ("127.0.0.2", "127.0.0.1")

    with RawServer(answering(OK)) as partner:
        exchange = sender.send(partner.url(host="partner.test"), cidrs=("127.0.0.0/30",))

    assert exchange.status == 200
    assert exchange.remote_ip == "127.0.0.1"


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1",), ("::1",), ("127.0.0.1", "::1"), ("::ffff:127.0.0.1",), ("10.0.0.1", "127.0.0.1")]
)
def test_a_name_that_points_inside_is_refused(sender: Sender, directory: Directory, addresses: tuple[str, ...]) -> None:
    directory.addresses["partner.test"] = addresses

    with RawServer(answering(OK)) as inside:
        exchange = sender.send(inside.url(host="partner.test"), cidrs=())

    assert exchange.failure is FailureKind.ADDRESS_BLOCKED
    assert exchange.maybe_sent is False
    assert inside.connections == 0


def test_the_certificate_must_be_for_the_name(directory: Directory, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    engine = new_engine(ca_file=str(authority.file), look_up=directory.look_up)

    with RawServer(answering(OK), tls=authority.server(name="partner.test")) as partner:
        right = engine.submit(outgoing(partner.url(host="partner.test"))).result(PATIENCE_SECONDS)
        wrong = engine.submit(outgoing(partner.url(host="other.test"))).result(PATIENCE_SECONDS)
    engine.stop()

    assert right.status == 200
    assert wrong.failure is FailureKind.TLS_CERTIFICATE
    assert len(partner.requests) == 1


def test_a_hanging_lookup_does_not_keep_the_engine_from_stopping(directory: Directory) -> None:
    engine = new_engine(look_up=directory.look_up)
    directory.silent = {"partner.test"}
    future = engine.submit(outgoing("http://partner.test/", total=60))
    wait_until(lambda: directory.asked, seconds=5, what="the lookup to begin")

    began = time.monotonic()
    engine.stop()
    took = time.monotonic() - began
    directory.speak.set()  # and an answer to a stopped engine is nobody's

    assert took < 1
    assert not engine.thread.is_alive()
    assert not future.done()
