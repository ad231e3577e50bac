"""The parts of the chaos harness that stand between or beside the processes: its proxy and its receiver, over real sockets."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import answers, ledger
from tests.chaos.house import fixed_ports
from tests.chaos.ledger import Request
from tests.chaos.operated import Operated
from tests.chaos.partners import TIMEOUT_SECONDS
from tests.support.raw_server import RawServer, answering
from tests.support.servers import listens
from tests.support.waiting import wait_until

SEED = 1


def path_with(answer: str) -> str:
    """A path whose first attempt the seed plans to be answered so, at once."""
    for serial in range(10_000):
        reply = answers.plan(SEED, f"/n/{serial}", 1, timeout_seconds=TIMEOUT_SECONDS)
        if reply.answer == answer and reply.delay_seconds < 0.05:
            return f"/n/{serial}"
    raise AssertionError(answer)


REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class Proxied:
    """The proxy before a server that answers a connection's requests with "first", "second", "second", …"""

    def __init__(self, folder: Path, target: int) -> None:
        (self._port,) = fixed_ports(1)
        self.operated = Operated("tests.chaos.proxy", f"{self._port}:{target}", log=folder / "proxy.log")
        self.connection = self.connect()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=10)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    with RawServer(answering(b"first", b"second")) as server:
        running = Proxied(tmp_path, server.port)
        yield running
        running.connection.close()
        running.operated.close()


def ask(connection: socket.socket) -> bytes:
    connection.sendall(REQUEST)
    return connection.recv(100)


def test_the_proxy_passes_bytes_both_ways(proxied: Proxied) -> None:
    assert [ask(proxied.connection), ask(proxied.connection)] == [b"first", b"second"]


def test_what_the_proxy_holds_arrives_when_it_passes_again(proxied: Proxied) -> None:
    connection = proxied.connection
    assert ask(connection) == b"first"

    proxied.operated.ask("hold")
    connection.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ask(connection)

    proxied.operated.ask("pass")
    connection.settimeout(10)
    assert connection.recv(100) == b"second"


def test_a_reset_ends_every_connection_and_lets_new_ones_in(proxied: Proxied) -> None:
    assert ask(proxied.connection) == b"first"

    assert proxied.operated.ask("reset") == {"connections": 2}
    with pytest.raises(ConnectionResetError):
        proxied.connection.recv(100)

    with proxied.connect() as another:
        assert ask(another) == b"first"


class Receiver:
    """The receiver's process with two partners, and what it wrote down."""

    def __init__(self, folder: Path) -> None:
        self.ports = dict(zip(("acme", "globex"), fixed_ports(2), strict=True))
        self._ledger = folder / "requests.jsonl"
        self.operated = Operated(
            "tests.chaos.receiver", "--seed", str(SEED), "--ledger", str(self._ledger),
            *(f"{name}={port}" for name, port in self.ports.items()), log=folder / "receiver.log",
        )  # fmt: skip

    def connect(self, partner: str = "acme", timeout: float = 10) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.ports[partner], timeout=timeout)

    def seen(self) -> list[Request]:
        self.operated.ask("count")
        return list(ledger.read(self._ledger, Request))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    running = Receiver(tmp_path)
    yield running
    running.operated.close()


def send(connection: http.client.HTTPConnection, path: str, attempt: int = 1) -> None:
    connection.request("POST", path, b"bytes", {"Webhook-Id": "id-1", "Webhook-Attempt": str(attempt)})


def test_the_receiver_answers_as_planned_and_writes_down_what_it_saw(receiver: Receiver) -> None:
    path = path_with("200")
    connection = receiver.connect()
    send(connection, path)

    assert connection.getresponse().status == 200
    (seen,) = receiver.seen()
    assert (seen.id, seen.attempt, seen.partner, seen.method, seen.path) == ("id-1", 1, "acme", "POST", path)
    assert seen.sha == hashlib.sha256(b"bytes").hexdigest()
    assert (seen.answer, seen.success) == ("200", True)
    assert seen.arrived <= seen.ended
    connection.close()


@pytest.mark.parametrize("answer", ["500", "503", answers.RESET, answers.BROKEN_OFF])
def test_the_receiver_fails_as_planned(receiver: Receiver, answer: str) -> None:
    connection = receiver.connect()
    send(connection, path_with(answer))

    if answer.isdigit():
        assert connection.getresponse().status == int(answer)
    else:
        with pytest.raises((ConnectionResetError, http.client.HTTPException)):
            connection.getresponse().read()
    (seen,) = receiver.seen()
    assert (seen.answer, seen.success) == (answer, False)
    connection.close()


def test_a_silent_partner_answers_nothing_and_the_others_do(receiver: Receiver) -> None:
    path = path_with("200")
    receiver.operated.ask("silence", partners=["acme"])
    silent, other = receiver.connect(timeout=0.3), receiver.connect("globex")
    send(silent, path)
    with pytest.raises(TimeoutError):
        silent.getresponse()
    send(other, path)
    assert other.getresponse().status == 200
    assert receiver.operated.ask("count")["held"] == 1

    silent.close()
    seen = wait_until(lambda: [one for one in receiver.seen() if one.partner == "acme"], seconds=10, what="the end")
    assert (seen[0].answer, seen[0].success) == ("closed", False)

    receiver.operated.ask("recover", partners=["acme"])
    again = receiver.connect()
    send(again, path)
    assert again.getresponse().status == 200
    for connection in (other, again):
        connection.close()


def test_a_partner_that_refuses_listens_again_on_the_same_port(receiver: Receiver) -> None:
    receiver.operated.ask("refuse", partners=["acme"])
    assert not listens(receiver.ports["acme"])
    assert listens(receiver.ports["globex"])

    receiver.operated.ask("recover", partners=["acme"])
    assert listens(receiver.ports["acme"])
