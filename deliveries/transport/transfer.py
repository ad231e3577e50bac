"""One transfer in the engine: what libcurl's callbacks gather, and the Exchange that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pycurl

from deliveries.transport.failures import WRITE_ERROR, failure_kind
from deliveries.transport.guard import Guard
from deliveries.transport.names import Addresses
from deliveries.transport.request import Outgoing
from notifier.policy.exchange import Exchange, FailureKind, Timing

# The connection's failures once a request is on its way, HTTP/2's among them.
_BROKEN = (FailureKind.CONNECTION_RESET, FailureKind.CONNECTION_FAILED, FailureKind.EMPTY_RESPONSE)

# What a request comes to: its exchange, or what kept it from being built.
Settled = Exchange | Exception
Then = Callable[[Settled], None]


def into(future: Future[Exchange]) -> Then:
    """So that the future holds what a request comes to."""

    def settle(settled: Settled) -> None:
        if isinstance(settled, Exception):
            future.set_exception(settled)
        else:
            future.set_result(settled)

    return settle


class Transfer:
    __slots__ = (
        "addresses", "began", "body", "ends_with_head", "fresh", "guard", "head_is_whole", "http2", "lines",
        "looked_up_seconds", "outgoing", "room", "sender", "then", "truncated",
    )  # fmt: skip

    def __init__(self, outgoing: Outgoing, sender: str, then: Then, room: int) -> None:
        self.outgoing = outgoing
        self.sender = sender
        self.then = then
        self.guard: Guard
        self.began = 0.0
        self.addresses: Addresses = ()  # of a host that is a name
        self.looked_up_seconds = 0.0
        self.fresh = False  # no kept connection, please
        self.http2 = False  # if the partner offers it; its connection may be shared then
        self.lines: list[bytes] = []
        self.head_is_whole = False
        # libcurl can leave out the body of a response only where the request has none either.
        self.ends_with_head = outgoing.request.method == "HEAD" and bool(outgoing.request.body)
        self.body: list[bytes] = []
        self.room = room
        self.truncated = False

    def head(self, line: bytes) -> int | None:
        """libcurl's HEADERFUNCTION: keep the last head; interim ones (100, 103) come before it, trailers after the body.

        Any other answer than None ends the transfer.
        """
        if not line.strip(b"\r\n"):
            self.head_is_whole = True
            interim = b"".join(self.lines[:1]).partition(b" ")[2].startswith(b"1")
            return 0 if self.ends_with_head and not interim else None
        if not self.head_is_whole:
            self.lines.append(line)
        elif line.startswith(b"HTTP/"):
            self.lines, self.head_is_whole = [line], False
        return None

    def write(self, chunk: bytes) -> int | None:
        """libcurl's WRITEFUNCTION: keep what there is room for; any other answer than None ends the transfer."""
        if len(chunk) > self.room:
            self.body.append(chunk[: self.room])
            self.room, self.truncated = 0, True
            return 0
        self.body.append(chunk)
        self.room -= len(chunk)
        return None


def exchange_of(transfer: Transfer, easy: pycurl.Curl, code: int, message: str) -> Exchange:
    timing = _timing(easy, transfer.looked_up_seconds)
    # A proxy was asked for the connection first, and that counts as a request of libcurl's.
    maybe_sent = easy.getinfo(pycurl.REQUEST_SIZE) > 0 and transfer.guard.asked
    remote_ip = easy.getinfo(pycurl.PRIMARY_IP) or None
    if code == WRITE_ERROR and (transfer.truncated or transfer.ends_with_head):
        code = 0  # we stopped reading; the response's head is whole
    if code or not transfer.head_is_whole:
        kind, detail = _failure(transfer, easy, code, message)
        return Exchange(
            failure=kind,
            failure_detail=detail,
            timing=timing,
            remote_ip=remote_ip,
            maybe_sent=maybe_sent,
        )
    return Exchange(
        status=easy.getinfo(pycurl.RESPONSE_CODE),
        headers=_headers(transfer.lines),
        body=b"".join(transfer.body),
        body_truncated=transfer.truncated,
        timing=timing,
        remote_ip=remote_ip,
    )


def is_trouble(transfer: Transfer, exchange: Exchange) -> bool:
    """Whether what was sent got no answer for reasons that may lie in its connection."""
    if exchange.failure is FailureKind.TIMEOUT:
        return transfer.guard.asked and not transfer.lines
    return transfer.guard.asked and exchange.failure in _BROKEN


def _failure(transfer: Transfer, easy: pycurl.Curl, code: int, message: str) -> tuple[FailureKind, str]:
    guard = transfer.guard
    if guard.stale:
        broke = "the stream was refused, or its connection broke," if transfer.http2 else "the kept connection broke"
        return FailureKind.CONNECTION_RESET, f"{broke} before a response; nothing is sent twice"
    if guard.refusal is not None:
        return FailureKind.ADDRESS_BLOCKED, guard.refusal
    proxy_said = easy.getinfo(pycurl.HTTP_CONNECTCODE)
    if code and not guard.asked and proxy_said and proxy_said != 200:
        return FailureKind.CONNECTION_FAILED, f"the egress proxy answered {proxy_said}"
    if not code:
        return FailureKind.CONNECTION_RESET, "the connection was closed within the response's head"
    return failure_kind(code, easy, may_share=transfer.http2), guard.trouble or message or f"libcurl error {code}"


def _timing(easy: pycurl.Curl, looked_up: float) -> Timing:
    """libcurl's times, whole microseconds, count from its start, which is after the lookup of the name; ours are the phases."""
    dns, connected = easy.getinfo(pycurl.NAMELOOKUP_TIME_T), easy.getinfo(pycurl.CONNECT_TIME_T)
    secured, sent = easy.getinfo(pycurl.APPCONNECT_TIME_T), easy.getinfo(pycurl.PRETRANSFER_TIME_T)
    first, total = easy.getinfo(pycurl.STARTTRANSFER_TIME_T), easy.getinfo(pycurl.TOTAL_TIME_T)
    before = round(looked_up * 1_000_000)
    return Timing(
        dns_ms=(before + (dns if connected else 0)) / 1000,
        connect_ms=max(0, connected - dns) / 1000,
        tls_ms=max(0, secured - connected) / 1000,
        ttfb_ms=max(0, first - sent) / 1000,
        total_ms=(before + total) / 1000,
    )


def milliseconds(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)


def _headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    """What follows the status line."""
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
    return tuple(headers)
