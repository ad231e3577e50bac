"""What is taken of a response: the head whole, of the body so many bytes as it was before compression."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator

import pytest

from notifier.policy.exchange import Exchange
from tests.integration.transport.sending import READ_BYTES, Sender, new_engine
from tests.support.ledger import REPOSITORY, PartnerSimulator
from tests.support.raw_server import OK, Connection, Handler, RawServer, answering

_case = pytest.param

HEAD = b"HTTP/1.1 200 OK\r\n"
# What brotli's own encoder makes of "hello"; the standard library has none.
BROTLI_HELLO = b"\x0b\x02\x80hello\x03"


def _encoded(encoding: bytes, body: bytes) -> bytes:
    return HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body)) + body


def _raw_deflate(body: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(body) + compress.flush()


def _once(answer: bytes) -> Handler:
    """Answer one request, then close the connection."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)

    return handle


def _answered(sender: Sender, handler: Handler, method: str = "POST") -> Exchange:
    with RawServer(handler) as partner:
        exchange = sender.send(partner.url(), method, None if method == "HEAD" else b"body")
    assert exchange.failure is None, exchange.failure_detail
    return exchange


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        _case(b"gzip", gzip.compress(b"hello"), id="gzip"),
        _case(b"x-gzip", gzip.compress(b"hello"), id="x-gzip"),
        _case(b"deflate", zlib.compress(b"hello"), id="deflate"),
        _case(b"deflate", _raw_deflate(b"hello"), id="deflate-without-its-header"),
        _case(b"br", BROTLI_HELLO, id="brotli"),
        _case(b"gzip, gzip", gzip.compress(gzip.compress(b"hello")), id="gzip-twice"),
        _case(b"identity", b"hello", id="identity"),
    ],
)
def test_compression_is_undone(sender: Sender, encoding: bytes, body: bytes) -> None:
    exchange = _answered(sender, answering(_encoded(encoding, body)))

    assert (exchange.body, exchange.body_truncated) == (b"hello", False)
    assert exchange.header("content-encoding") == encoding.decode()


@pytest.mark.parametrize(
    ("size", "truncated"),
    [
        _case(0, False, id="nothing"),
        _case(READ_BYTES - 1, False, id="less"),
        _case(READ_BYTES, False, id="exactly-so-much"),
        _case(READ_BYTES + 1, True, id="one-more"),
        _case(READ_BYTES * 40, True, id="much-more"),
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked", "until-close", "gzip"])
def test_no_more_of_a_body_is_read_than_is_allowed(sender: Sender, framing: str, size: int, truncated: bool) -> None:
    body = bytes(index % 251 for index in range(size))
    answer = {
        "length": HEAD + b"Content-Length: %d\r\n\r\n" % size + body,
        "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%s\r\n" % (size, body) if body else b"")
        + b"0\r\n\r\n",
        "until-close": HEAD + b"\r\n" + body,
        "gzip": _encoded(b"gzip", gzip.compress(body)),
    }[framing]  # fmt: skip

    exchange = _answered(sender, _once(answer))

    assert exchange.status == 200
    assert exchange.body == body[:READ_BYTES]
    assert exchange.body_truncated is truncated


@pytest.mark.parametrize("body", [b"", b"x"])
def test_nothing_of_a_body_is_kept_where_nothing_is_allowed(body: bytes) -> None:
    engine = new_engine(read_bytes=0)

    exchange = _answered(Sender(engine), _once(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    engine.stop()

    assert (exchange.body, exchange.body_truncated) == (b"", bool(body))


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSimulator]:
    partner = PartnerSimulator(tmp_path_factory.mktemp("partner"))
    yield partner
    partner.stop()


def test_a_body_of_ten_megabytes_is_cut(sender: Sender, simulator: PartnerSimulator) -> None:
    exchange = sender.send(simulator.url("/big"), "GET", None)

    assert exchange.status == 200
    assert exchange.header("content-length") == "10000000"
    assert (exchange.body, exchange.body_truncated) == (b"x" * READ_BYTES, True)


def test_a_bomb_is_not_unpacked(sender: Sender, simulator: PartnerSimulator) -> None:
    exchange = sender.send(simulator.url("/gzip-bomb"), "GET", None)

    assert exchange.status == 200
    assert (exchange.body, exchange.body_truncated) == (bytes(READ_BYTES), True)


def test_big_bodies_and_bombs_take_no_memory(simulator: PartnerSimulator) -> None:
    """Fifty of each at the same time, 6 GB unpacked; of each 64 KiB may be kept."""
    urls = [simulator.url("/big"), simulator.url("/gzip-bomb")] * 50

    report = subprocess.run(
        [sys.executable, "-m", "tests.integration.transport.process", *urls],
        cwd=REPOSITORY, capture_output=True, check=True, timeout=60,
    )  # fmt: skip

    outcome = json.loads(report.stdout)
    assert outcome["statuses"] == [200] * 100
    assert outcome["body_bytes"] == [READ_BYTES] * 100
    assert outcome["peak_growth_bytes"] < 20_000_000


def test_interim_responses_are_not_the_response(sender: Sender) -> None:
    interim = (
        b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nRetry-After: 9\r\n\r\n"
    )

    for method in ("POST", "GET", "HEAD"):
        exchange = _answered(
            sender, answering(interim + (HEAD + b"X-Last: 1\r\n\r\n" if method == "HEAD" else OK)), method
        )

        assert exchange.status == 200
        assert exchange.headers == ((("X-Last", "1"),) if method == "HEAD" else (("Content-Length", "2"),))
        assert exchange.body == (b"" if method == "HEAD" else b"ok")


def test_an_interim_response_before_the_answer_to_a_head_with_a_body(sender: Sender) -> None:
    """libcurl ends such a transfer with the head; it must be the last one."""
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\n"

    with RawServer(answering(answer)) as partner:
        exchange = sender.send(partner.url(), "HEAD", b"body", total=1.0)

    assert (exchange.status, exchange.failure) == (404, None)
    assert exchange.headers == (("Content-Length", "9"),)
    assert (exchange.body, exchange.body_truncated) == (b"", False)


def test_headers_are_taken_as_they_come(sender: Sender) -> None:
    lines = (
        b"X-Twice: a\r\nx-twice: b\r\nX-Empty:\r\nX-Blanks:  \t c \t\r\nX-Latin: caf\xe9\r\nX-Colons: a:b: c\r\n"
        b"HTTP/odd: name\r\nX-Folded: one\r\n two\r\n"
    )

    exchange = _answered(sender, answering(HEAD + lines + b"Content-Length: 0\r\n\r\n"))

    assert exchange.headers == (
        ("X-Twice", "a"),
        ("x-twice", "b"),
        ("X-Empty", ""),
        ("X-Blanks", "c"),
        ("X-Latin", "caf\xe9"),
        ("X-Colons", "a:b: c"),
        ("HTTP/odd", "name"),
        ("X-Folded", "one two"),
        ("Content-Length", "0"),
    )
    assert exchange.header("x-TWICE") == "a"


def test_trailers_are_not_headers(sender: Sender) -> None:
    """A trailer could otherwise say Retry-After once the status has been judged by the head (RFC 9110, section 6.5)."""
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nRetry-After: 99\r\n\r\n"

    exchange = _answered(sender, answering(HEAD + body))

    assert exchange.headers == (("Transfer-Encoding", "chunked"),)
    assert exchange.body == b"ok"


@pytest.mark.parametrize("status", [200, 204, 205, 304, 400, 404, 429, 500, 503, 599, 999])
def test_every_status_is_an_answer(sender: Sender, status: int) -> None:
    exchange = _answered(sender, answering(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode()))

    assert exchange.status == status
    assert exchange.maybe_sent is True
    assert exchange.remote_ip == "127.0.0.1"


def test_http_1_0_and_bare_line_feeds_are_understood(sender: Sender) -> None:
    exchange = _answered(sender, _once(b"HTTP/1.0 200 OK\nX-A: b\n\nhello"))

    assert (exchange.status, exchange.headers, exchange.body) == (200, (("X-A", "b"),), b"hello")


def test_four_thousand_headers_are_still_taken(sender: Sender) -> None:
    lines = b"".join(b"X-%d: x\r\n" % number for number in range(4000))

    exchange = _answered(sender, answering(HEAD + lines + b"Content-Length: 0\r\n\r\n"))

    assert exchange.status == 200
    assert len(exchange.headers) == 4001


def test_the_phases_make_up_the_whole_time(sender: Sender, simulator: PartnerSimulator) -> None:
    exchange = sender.send(simulator.url("/slow/200"))

    timing = exchange.timing
    assert 200 <= timing.ttfb_ms < 1200
    assert timing.connect_ms > 0
    assert timing.tls_ms == 0
    assert timing.dns_ms + timing.connect_ms + timing.ttfb_ms <= timing.total_ms < 1300


def test_an_answer_before_the_whole_request_was_read(sender: Sender) -> None:
    """A partner that refuses a large body at once, and hears the rest out."""

    async def refuse(connection: Connection) -> None:
        await connection.head()
        await connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await connection.closed()

    with RawServer(refuse) as partner:
        exchange = sender.send(partner.url(), body=bytes(256 * 1024))

    assert (exchange.status, exchange.failure) == (413, None)
