"""Over HTTP/2 requests arrive and responses are taken as they are over HTTP/1.1."""

from __future__ import annotations

import asyncio
import gzip
import itertools

import pytest
from h2.errors import ErrorCodes

from notifier.policy.exchange import Exchange, FailureKind
from tests.integration.transport.certificates import HTTP2, Authority
from tests.integration.transport.sending import PATIENCE_SECONDS, READ_BYTES, Sender, outgoing
from tests.support.h2_server import Header, Speaks2, Stream, StreamHandler
from tests.support.raw_server import RawServer
from tests.support.waiting import wait_until

_case = pytest.param

EVERY_BYTE = bytes(range(256))
METHODS = list(itertools.product(["GET", "POST", "PUT", "PATCH", "DELETE"], [None, b"", EVERY_BYTE]))


def answering(body: bytes = b"ok", status: int = 200, *headers: Header) -> StreamHandler:
    async def answer(stream: Stream) -> None:
        await stream.answer(body, status, *headers)

    return answer


class Partner:
    """A server and one request to it at a time; all of them must have been HTTP/2's."""

    def __init__(self, sender: Sender, authority: Authority) -> None:
        self._sender, self._authority = sender, authority

    def asked(
        self,
        handle: StreamHandler,
        method: str = "POST",
        body: bytes | None = b"body",
        *,
        target: str = "/",
        headers: dict[str, str] | None = None,
        total: float = 5.0,
        whole: bool = True,
    ) -> tuple[Exchange, Stream]:
        speaks = Speaks2(handle, whole=whole)
        with RawServer(speaks, tls=self._authority.server(protocols=HTTP2)) as server:
            exchange = self._sender.send(server.url(target), method, body, headers=headers, total=total)
            (stream,) = speaks.streams
            stream.authority = f"127.0.0.1:{server.port}".encode()
        return exchange, stream


@pytest.fixture
def partner(trusting: Sender, authority: Authority) -> Partner:
    return Partner(trusting, authority)


@pytest.mark.parametrize(("method", "body"), METHODS)
def test_each_method_with_and_without_a_body(partner: Partner, method: str, body: bytes | None) -> None:
    exchange, stream = partner.asked(answering(), method, body, target="/a/../b/%7e?x=%7e&y=%7E")

    assert (exchange.status, exchange.body, exchange.body_truncated) == (200, b"ok", False)
    assert stream.header(":method") == [method.encode()]
    assert stream.header(":path") == [b"/a/../b/%7e?x=%7e&y=%7E"]
    assert stream.header(":authority") == [stream.authority]
    length = [] if body is None and method in ("GET", "DELETE") else [b"%d" % len(body or b"")]
    assert stream.header("content-length") == length
    assert stream.body == (body or b"")
    usual = {b"accept", b"accept-encoding", b"content-length"}
    assert {name for name, _ in stream.headers if not name.startswith(b":")} - usual == set()


@pytest.mark.parametrize("body", [None, b"body"])
def test_head(partner: Partner, body: bytes | None) -> None:
    """libcurl ends one with a body at the head of the response; interim responses are not it."""

    async def answer(stream: Stream) -> None:
        await stream.head(103, (b"link", b"</a.css>"))
        await stream.head(404, (b"content-length", b"9"), end=True)

    exchange, stream = partner.asked(answer, "HEAD", body, total=2.0)

    assert (exchange.status, exchange.failure, exchange.body) == (404, None, b"")
    assert exchange.headers == (("content-length", "9"),)
    assert stream.body == (body or b"")


@pytest.mark.parametrize(
    ("name", "value", "arrives"),
    [
        _case("X-Plain", "value", b"value", id="plain"),
        _case("X-Empty", "", b"", id="empty"),
        _case("X-Latin", "caf\xe9 \xff\x80", b"caf\xe9 \xff\x80", id="latin-1"),
        _case("X-Marks", "a;b: c, \"d\" 'e'\tf=%20", b"a;b: c, \"d\" 'e'\tf=%20", id="punctuation"),
        _case("X-Long", "v" * 8000, b"v" * 8000, id="long"),
        _case("User-Agent", "mine/1", b"mine/1", id="user-agent"),
        _case("Content-Type", "a/b", b"a/b", id="content-type"),
        _case("Authorization", "Bearer x", b"Bearer x", id="authorization"),
        _case("Cookie", "a=b; c=d", b"a=b; c=d", id="cookie"),
        _case("Content-Length", "4", b"4", id="content-length"),
        _case("Accept", "mine", b"mine", id="accept"),
    ],
)
def test_a_header_arrives_once_and_unchanged(partner: Partner, name: str, value: str, arrives: bytes) -> None:
    _, stream = partner.asked(answering(), headers={name: value})

    assert stream.header(name.lower()) == [arrives]


def test_the_host_that_a_request_names_is_its_authority(partner: Partner) -> None:
    _, stream = partner.asked(answering(), headers={"Host": "mine.test"})

    assert stream.header(":authority") == [b"mine.test"]
    assert stream.header("host") == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_large_body_is_sent_at_once_without_asking(partner: Partner, method: str) -> None:
    body = EVERY_BYTE * 4 * 2048

    exchange, stream = partner.asked(answering(), method, body)

    assert exchange.status == 200
    assert stream.header("expect") == []
    assert stream.body == body


@pytest.mark.parametrize("status", [200, 204, 205, 304, 307, 400, 401, 404, 421, 429, 500, 503, 599, 999])
def test_every_status_is_an_answer(partner: Partner, status: int) -> None:
    exchange, _ = partner.asked(
        answering(b"", status, (b"location", b"/elsewhere"), (b"x-two", b"1"), (b"x-two", b"2"))
    )

    assert (exchange.status, exchange.failure, exchange.maybe_sent) == (status, None, True)
    assert exchange.headers == (("location", "/elsewhere"), ("x-two", "1"), ("x-two", "2"))
    assert exchange.remote_ip == "127.0.0.1"


def test_interim_responses_and_trailers_are_not_the_response(partner: Partner) -> None:
    async def answer(stream: Stream) -> None:
        await stream.head(103, (b"link", b"</a.css>"), (b"retry-after", b"9"))
        await stream.head(200, (b"x-last", b"1"))
        await stream.data(b"ok")
        stream.session.h2.send_headers(stream.stream_id, [(b"retry-after", b"99")], end_stream=True)
        await stream.session.flush()

    exchange, _ = partner.asked(answer)

    assert (exchange.status, exchange.headers, exchange.body) == (200, (("x-last", "1"),), b"ok")


@pytest.mark.parametrize(
    ("size", "truncated"),
    [(0, False), (READ_BYTES - 1, False), (READ_BYTES, False), (READ_BYTES + 1, True), (READ_BYTES * 40, True)],
)
@pytest.mark.parametrize("encoding", [b"identity", b"gzip"])
def test_no_more_of_a_body_is_read_than_is_allowed(
    partner: Partner, encoding: bytes, size: int, truncated: bool
) -> None:
    body = bytes(index % 251 for index in range(size))
    sent = gzip.compress(body) if encoding == b"gzip" else body

    exchange, _ = partner.asked(answering(sent, 200, (b"content-encoding", encoding)))

    assert exchange.status == 200
    assert exchange.body == body[:READ_BYTES]
    assert exchange.body_truncated is truncated


@pytest.mark.parametrize(
    ("piece", "encoding"), [(b"x" * 65_536, b"identity"), (gzip.compress(bytes(10_000_000)), b"gzip")], ids=["big", "bomb"]
)  # fmt: skip
def test_what_has_no_end_is_cut_and_the_others_on_its_connection_go_on(
    trusting: Sender, authority: Authority, piece: bytes, encoding: bytes
) -> None:
    """Its stream is reset, so that nothing of it uses up what the connection may receive."""
    answer_now = asyncio.Event()

    async def answer(stream: Stream) -> None:
        if stream.path == "/endless":
            await stream.head(200, (b"content-encoding", encoding))
            while not stream.was_reset:
                await stream.data(piece)
        if stream.path == "/other":
            await answer_now.wait()
        await stream.answer()

    speaks = Speaks2(answer)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as server:
        trusting.send(server.url("/first"))
        other = trusting.engine.submit(outgoing(server.url("/other"), total=20))
        wait_until(lambda: len(speaks.streams) == 2, seconds=5, what="the other to be under way")
        for number in range(20):
            cut = trusting.send(server.url("/endless"))
            assert (cut.status, len(cut.body), cut.body_truncated) == (200, READ_BYTES, True)
            wait_until(lambda: speaks.streams[-1].was_reset, seconds=5, what="the stream's reset", every=0.001)
            assert len(speaks.streams) == number + 3
        server.call(answer_now.set)
        assert other.result(PATIENCE_SECONDS).body == b"ok"

    assert {(number, version) for number, version, _ in speaks.seen} == {(1, "h2")}


def test_an_answer_before_the_whole_request_was_read(partner: Partner) -> None:
    """A partner that refuses a large body at once, and wants no more of it (RFC 9113, section 8.1)."""

    async def refuse(stream: Stream) -> None:
        await stream.answer(b"", 413)
        await stream.reset(ErrorCodes.NO_ERROR)

    exchange, _ = partner.asked(refuse, body=bytes(4 * 1024 * 1024), whole=False)

    assert (exchange.status, exchange.failure) == (413, None)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        _case(
            [(b"x-%d" % number, b"x") for number in range(10_000)], FailureKind.RESPONSE_TOO_LARGE, id="ten-thousand"
        ),
        _case([(b"x-long", b"x" * 8000)] * 50, FailureKind.CONNECTION_RESET, id="more-than-its-library-takes"),
    ],
)
def test_too_many_headers(partner: Partner, head: list[Header], kind: FailureKind) -> None:
    exchange, _ = partner.asked(answering(b"", 200, *head), total=2.0)

    assert (exchange.status, exchange.failure, exchange.maybe_sent) == (None, kind, True)


def test_four_thousand_headers_are_still_taken(partner: Partner) -> None:
    exchange, _ = partner.asked(answering(b"", 200, *[(b"x-%d" % number, b"x") for number in range(4000)]))

    assert (exchange.status, len(exchange.headers)) == (200, 4000)


async def _drip_the_head(stream: Stream) -> None:
    while True:
        await stream.head(103, (b"link", b"x"))
        await asyncio.sleep(0.05)


async def _drip_the_body(stream: Stream) -> None:
    await stream.head(200)
    while True:
        await stream.data(b".")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("drip", [_drip_the_head, _drip_the_body])
def test_a_drip_ends_in_time(partner: Partner, drip: StreamHandler) -> None:
    exchange, _ = partner.asked(drip, total=0.5)

    assert (exchange.failure, exchange.maybe_sent) == (FailureKind.TIMEOUT, True)
    assert 500 <= exchange.timing.total_ms < 1500
