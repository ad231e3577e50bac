"""The partner simulator over real sockets: every path does what it promises, and the ledger is exact."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.embedded.simulator import SeenRequest, Simulator
from tests.support.waiting import wait_until


class Running:
    """A simulator in a thread of its own."""

    def __init__(self) -> None:
        self.seen: list[SeenRequest] = []
        self._loop = asyncio.new_event_loop()
        self._simulator = Simulator(self.seen.append)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._simulator.start(), self._loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._simulator.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


@pytest.fixture
def connection(running: Running) -> Iterator[http.client.HTTPConnection]:
    running.seen.clear()
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    yield connection
    connection.close()


def ask(
    connection: http.client.HTTPConnection, path: str, method: str = "POST", webhook_id: str = "one"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection.request(method, path, headers={"Webhook-Id": webhook_id})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def raw(running: Running, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    client.sendall(data)
    return client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ok", 200), ("/ok?a=b", 200), ("/", 200), ("/status/204", 204), ("/status/418", 418), ("/status/503", 503),
        ("/status/999", 404), ("/status/", 404), ("/status/x", 404), ("/flaky/x", 404), ("/json/maybe", 404),
        ("/nowhere", 404), ("/headers/200000", 404), ("/slow/0", 200),
    ],
)  # fmt: skip
def test_a_path_answers_its_status(connection: http.client.HTTPConnection, path: str, status: int) -> None:
    assert ask(connection, path)[0] == status


def test_the_request_is_seen_exactly_as_it_was_sent(running: Running) -> None:
    running.seen.clear()
    head = b"PUT /ok?q=%7B+b%7D&q=2 HTTP/1.1\r\nhOst: x\r\nX-Two: 1\r\nX-Two:  2 \r\nContent-Length: 4\r\n\r\n"

    with raw(running, head + b"\x00\xff\r\n") as client:
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")

    (seen,) = running.seen
    assert (seen.method, seen.path, seen.body, seen.answered) == ("PUT", "/ok?q=%7B+b%7D&q=2", b"\x00\xff\r\n", 200)
    assert seen.headers == [("hOst", "x"), ("X-Two", "1"), ("X-Two", "2"), ("Content-Length", "4")]


def test_a_chunked_body_is_put_together_however_it_is_cut(running: Running) -> None:
    running.seen.clear()
    head = b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3;note=x\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"

    with raw(running, b"") as client:
        for octet in head + body:
            client.send(bytes([octet]))
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")

    assert [seen.body for seen in running.seen] == [b"abc0123456789"]


def test_a_connection_serves_many_requests_in_order(running: Running) -> None:
    running.seen.clear()
    requests = b"".join(b"GET /status/%d HTTP/1.1\r\n\r\n" % status for status in (201, 404, 500))

    with raw(running, requests + b"GET /slow/50 HTTP/1.1\r\n\r\nGET /close HTTP/1.1\r\n\r\n") as client:
        received = b"".join(iter(lambda: client.recv(4096), b""))

    assert [line.split()[1] for line in received.splitlines() if line.startswith(b"HTTP/")] == [
        b"201", b"404", b"500", b"200",
    ]  # fmt: skip
    assert [seen.answered for seen in running.seen] == [201, 404, 500, 200, None]


def test_the_partner_says_continue_before_the_body(running: Running) -> None:
    with raw(running, b"POST /ok HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n") as client:
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(running: Running, request_bytes: bytes) -> None:
    with raw(running, request_bytes) as client:
        received = b"".join(iter(lambda: client.recv(4096), b""))

    assert received.startswith(b"HTTP/1.1 400 ")


def test_a_redirect_points_to_ok(connection: http.client.HTTPConnection) -> None:
    status, headers, _ = ask(connection, "/status/302")

    assert (status, headers["Location"]) == (302, "/ok")


def test_flaky_counts_for_each_webhook_id(connection: http.client.HTTPConnection) -> None:
    first = [ask(connection, "/flaky/2", webhook_id="first")[0] for _ in range(4)]
    other = ask(connection, "/flaky/2", webhook_id="other")[0]

    assert (first, other) == ([503, 503, 200, 200], 503)


def test_retry_after_asks_once_for_each_webhook_id(connection: http.client.HTTPConnection) -> None:
    status, headers, _ = ask(connection, "/retry-after/7")

    assert (status, headers["Retry-After"]) == (429, "7")
    assert ask(connection, "/retry-after/7")[0] == 200


@pytest.mark.parametrize("path", ["/ok", "/echo", "/big", "/gzip-bomb", "/drip", "/json/ok"])
def test_head_has_no_body_and_the_connection_goes_on(connection: http.client.HTTPConnection, path: str) -> None:
    assert ask(connection, path, "HEAD")[::2] == (200, b"")
    assert ask(connection, "/status/204")[0] == 204


def test_echo_tells_text_from_bytes(connection: http.client.HTTPConnection) -> None:
    connection.request("PATCH", "/echo?x", "grüße".encode(), {"X-Name": "a"})
    text = json.loads(connection.getresponse().read())
    connection.request("POST", "/echo", b"\xff\x00")
    binary = json.loads(connection.getresponse().read())

    assert (text["method"], text["path"], text["headers"]["X-Name"], text["body"]) == ("PATCH", "/echo?x", "a", "grüße")
    assert base64.b64decode(binary["body_base64"]) == b"\xff\x00"


def test_json_says_ok_or_not(connection: http.client.HTTPConnection) -> None:
    assert json.loads(ask(connection, "/json/ok")[2]) == {"ok": True}
    assert json.loads(ask(connection, "/json/error")[2]) == {"ok": False}


def test_large_answers_have_their_size(connection: http.client.HTTPConnection) -> None:
    assert len(ask(connection, "/big")[2]) == 10_000_000
    assert len(ask(connection, "/big/70000")[2]) == 70_000
    assert len(ask(connection, "/headers/90")[1].items()) == 92  # and the two of every answer


def test_the_bomb_is_small_and_unpacks_to_a_hundred_megabytes(connection: http.client.HTTPConnection) -> None:
    _, headers, body = ask(connection, "/gzip-bomb")

    assert headers["Content-Encoding"] == "gzip"
    assert len(body) < 200_000
    assert len(gzip.decompress(body)) == 100 * 1024 * 1024


def test_slow_takes_its_time(connection: http.client.HTTPConnection) -> None:
    started = time.monotonic()

    assert ask(connection, "/slow/200")[0] == 200
    assert time.monotonic() - started >= 0.2


def test_reset_resets(connection: http.client.HTTPConnection) -> None:
    with pytest.raises(ConnectionResetError):
        ask(connection, "/reset")


def test_close_closes_without_an_answer(running: Running) -> None:
    with raw(running, b"GET /close HTTP/1.1\r\n\r\n") as client:
        assert client.recv(4096) == b""


def test_never_reads_and_stays_silent(running: Running) -> None:
    running.seen.clear()

    with raw(running, b"GET /never HTTP/1.1\r\n\r\n") as client:
        wait_until(lambda: running.seen, seconds=5, what="the request to be seen")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)


@pytest.mark.parametrize(("path", "has_whole_head"), [("/drip", True), ("/drip-head", False)])
def test_a_drip_goes_on_byte_by_byte(running: Running, path: str, has_whole_head: bool) -> None:
    with raw(running, f"GET {path} HTTP/1.1\r\n\r\n".encode()) as client:
        received = b""
        while not received.endswith(b"..."):
            received += client.recv(4096)

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"\r\n\r\n" in received) is has_whole_head


def test_alone_it_keeps_a_ledger_and_ends_on_sigterm(tmp_path: Path) -> None:
    ledger = tmp_path / "seen.jsonl"
    command = [sys.executable, "-m", "config.embedded.simulator", "--port", "0", "--log", str(ledger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2].strip("/\n"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        ask(connection, "/status/201")
        connection.close()

        (line,) = ledger.read_text().splitlines()  # it was there before the answer
        second = subprocess.run([*command[:4], str(port)], capture_output=True, text=True, check=False)
        process.send_signal(signal.SIGTERM)

    assert process.returncode == 0
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert second.stderr.startswith("The simulator cannot start: ")
    seen = json.loads(line)
    assert (seen["method"], seen["path"], seen["answered"], seen["body"]) == ("POST", "/status/201", 201, "")
    assert ["Webhook-Id", "one"] in seen["headers"]
