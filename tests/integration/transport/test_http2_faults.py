"""HTTP/2 that breaks: no request is seen twice within an attempt, and the partner is spoken to in HTTP/1.1 for a while."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from h2.errors import ErrorCodes

from notifier.policy.exchange import FailureKind
from tests.integration.transport.certificates import HTTP2, Authority
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, outgoing
from tests.support.h2_server import Speaks2, Stream, StreamHandler
from tests.support.raw_server import RawServer
from tests.support.waiting import wait_until

_case = pytest.param
TOTAL_SECONDS = 0.5


async def _refuse(stream: Stream) -> None:
    await stream.reset(ErrorCodes.REFUSED_STREAM)


async def _require_http_1_1(stream: Stream) -> None:
    await stream.reset(ErrorCodes.HTTP_1_1_REQUIRED)


async def _fail(stream: Stream) -> None:
    await stream.reset(ErrorCodes.INTERNAL_ERROR)


async def _end_without_an_answer(stream: Stream) -> None:
    await stream.reset(ErrorCodes.NO_ERROR)


async def _go_away_before_it(stream: Stream) -> None:
    await stream.goaway(stream.stream_id - 2 if stream.stream_id > 1 else 0)


async def _go_away_after_it(stream: Stream) -> None:
    await stream.goaway(stream.stream_id)
    stream.session.connection.close()


async def _go_away_in_anger(stream: Stream) -> None:
    await stream.goaway(stream.stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
    stream.session.connection.close()


async def _close(stream: Stream) -> None:
    stream.session.connection.close()


async def _reset(stream: Stream) -> None:
    stream.session.connection.reset()


async def _cut_the_body(stream: Stream) -> None:
    await stream.head(200, (b"content-length", b"9"))
    await stream.data(b"ab")
    stream.session.connection.reset()


async def _speak_nonsense(stream: Stream) -> None:
    await stream.session.connection.send(b"\0\0\x05\0\0\0\0\0\0hello")  # data of no stream


async def _be_silent(stream: Stream) -> None:
    await stream.session.news()
    await stream.session.news()


FAULTS = {
    "refuses-the-stream": (_refuse, FailureKind.CONNECTION_RESET),
    "requires-http-1.1": (_require_http_1_1, FailureKind.CONNECTION_RESET),
    "fails-the-stream": (_fail, FailureKind.CONNECTION_RESET),
    "ends-the-stream": (_end_without_an_answer, FailureKind.CONNECTION_RESET),
    "goes-away-before-it": (_go_away_before_it, FailureKind.CONNECTION_RESET),
    "goes-away-after-it": (_go_away_after_it, FailureKind.CONNECTION_RESET),
    "goes-away-in-anger": (_go_away_in_anger, FailureKind.CONNECTION_RESET),
    "closes": (_close, FailureKind.CONNECTION_RESET),
    "resets": (_reset, FailureKind.CONNECTION_RESET),
    "cuts-the-body": (_cut_the_body, FailureKind.CONNECTION_RESET),
    "speaks-nonsense": (_speak_nonsense, FailureKind.TIMEOUT),
    "is-silent": (_be_silent, FailureKind.TIMEOUT),
}


def _but_for_warm(handle: StreamHandler) -> StreamHandler:
    async def answer(stream: Stream) -> None:
        if stream.path == "/warm":
            await stream.answer()
        else:
            await handle(stream)

    return answer


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize(("fault", "kind"), [_case(*case, id=name) for name, case in FAULTS.items()])
def test_a_request_is_not_sent_again(
    trusting: Sender, authority: Authority, fault: StreamHandler, kind: FailureKind, kept: bool, method: str
) -> None:
    """libcurl would send it again, on another connection or in HTTP/1.1, unseen by the record of attempts."""
    speaks = Speaks2(_but_for_warm(fault))
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        if kept:
            trusting.send(partner.url("/warm"))
        exchange = trusting.send(
            partner.url("/once"), method, b"pay" if method == "POST" else None, total=TOTAL_SECONDS
        )
        later = trusting.send(partner.url("/later"))

    assert (exchange.failure, exchange.status, exchange.maybe_sent) == (kind, None, True)
    assert later.status == 200
    warm = [(1, "h2", "/warm")] if kept else []
    assert speaks.seen[:-1] == [*warm, (1, "h2", "/once")]
    assert speaks.seen[-1][1:] == ("http/1.1", "/later")


@pytest.mark.parametrize("fault", [_refuse, _go_away_before_it])
def test_nor_on_another_connection_that_stands(trusting: Sender, authority: Authority, fault: StreamHandler) -> None:
    """One connection with room and another: libcurl would go on to that one without opening a socket."""
    let_go = asyncio.Event()

    async def handle(stream: Stream) -> None:
        if stream.path == "/once":
            await fault(stream)
        await (let_go if stream.number == 1 else asyncio.Event()).wait()
        await stream.answer()

    speaks = Speaks2(_but_for_warm(handle), max_streams=100)
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        trusting.send(partner.url("/warm"))
        futures = [trusting.engine.submit(outgoing(partner.url(f"/{n}"), total=20)) for n in range(101)]
        wait_until(lambda: len(speaks.streams) == 102, seconds=5, what="all to be under way")
        partner.call(let_go.set)
        wait_until(lambda: sum(future.done() for future in futures) == 100, seconds=5, what="room on the first")
        exchange = trusting.send(partner.url("/once"), total=TOTAL_SECONDS)

    assert partner.connections == 2
    assert (exchange.failure, exchange.maybe_sent) == (FailureKind.CONNECTION_RESET, True)
    assert speaks.paths().count("/once") == 1


@pytest.mark.parametrize("fault", [_case(fault, id=name) for name, (fault, _) in FAULTS.items()])
def test_nor_is_any_of_many_that_are_under_way(trusting: Sender, authority: Authority, fault: StreamHandler) -> None:
    """Forty on one connection when it breaks, forty more while it does: each is seen once at most, and each ends."""
    speaks = Speaks2(_but_for_warm(_at_the_fortieth(fault)))
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        trusting.send(partner.url("/warm"))
        first = [trusting.engine.submit(outgoing(partner.url(f"/{n}"), total=TOTAL_SECONDS)) for n in range(40)]
        wait_until(lambda: any(future.done() for future in first), seconds=5, what="the first to fail")
        second = [trusting.engine.submit(outgoing(partner.url(f"/{n}"), total=TOTAL_SECONDS)) for n in range(40, 80)]
        exchanges = [future.result(PATIENCE_SECONDS) for future in first + second]

    times = Counter(path for _, _, path in speaks.seen)
    del times["/warm"]
    assert set(times.values()) == {1}
    for number, exchange in enumerate(exchanges):
        assert exchange.status == 200 or exchange.maybe_sent or f"/{number}" not in times
    assert [exchange.status for exchange in exchanges[40:]].count(200) >= 39


def _at_the_fortieth(fault: StreamHandler) -> StreamHandler:
    async def handle(stream: Stream) -> None:
        if stream.path == "/39":
            await fault(stream)
        await stream.session.news()

    return handle


def test_its_http_1_1_connections_are_kept(trusting: Sender, authority: Authority) -> None:
    """It is HTTP/2's streams that it refused, not a kept connection that broke."""
    speaks = Speaks2(_but_for_warm(_refuse))
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        exchanges = [trusting.send(partner.url(path)) for path in ("/warm", "/refused", "/1", "/2")]

    assert [exchange.status for exchange in exchanges] == [200, None, 200, 200]
    assert speaks.seen[2:] == [(2, "http/1.1", "/1"), (2, "http/1.1", "/2")]


def test_other_partners_keep_http_2(trusting: Sender, authority: Authority) -> None:
    bad, good = Speaks2(_reset), Speaks2(_but_for_warm(_reset))
    tls = authority.server(protocols=HTTP2)
    with RawServer(bad, tls=tls) as partner, RawServer(good, tls=tls) as another:
        for _ in range(2):
            trusting.send(partner.url("/"))
            trusting.send(another.url("/warm"))

    assert [version for _, version, _ in bad.seen] == ["h2", "http/1.1"]
    assert good.seen == [(1, "h2", "/warm")] * 2


def test_a_time_out_within_an_answer_is_no_reason_to_leave_http_2(trusting: Sender, authority: Authority) -> None:
    async def begin(stream: Stream) -> None:
        await stream.head(200, (b"content-length", b"9"))
        await stream.data(b"ab")

    speaks = Speaks2(_but_for_warm(begin))
    with RawServer(speaks, tls=authority.server(protocols=HTTP2)) as partner:
        exchange = trusting.send(partner.url("/slow"), total=0.3)
        assert trusting.send(partner.url("/warm")).status == 200

    assert exchange.failure is FailureKind.TIMEOUT
    assert [version for _, version, _ in speaks.seen] == ["h2", "h2"]
