"""What each path of the simulated partner answers, and how."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from html import escape
from http import HTTPStatus

from config.embedded.simulator.reading import Request

DRIP_SECONDS = 0.1
MEGABYTE = 1024 * 1024
BIG_BYTES = 10 * 1000 * 1000
BOMB_MEGABYTES = 100
# Requests are counted for this many Webhook-Ids; beyond it the oldest are forgotten.
REMEMBERED_IDS = 200_000


class End(Enum):
    """What becomes of the connection once everything has been written."""

    KEEP = auto()  # the next request, please
    CLOSE = auto()
    RESET = auto()
    SILENCE = auto()  # nothing more, for ever


@dataclass(frozen=True, slots=True)
class Answer:
    """``wire`` is written after ``delay_seconds``; then the pieces of ``rest`` with ``pause_seconds`` between them."""

    status: int | None  # None: no whole head ever goes out
    wire: bytes = b""
    delay_seconds: float = 0.0
    rest: Iterable[bytes] = ()
    pause_seconds: float = 0.0
    end: End = End.KEEP


class Memory:
    """How often a path was asked for with the same Webhook-Id."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def count(self, request: Request) -> int:
        """The number of this request among those with its path and Webhook-Id, from 1."""
        key = (request.target, request.header("webhook-id"))
        number = self._counts[key] = self._counts.get(key, 0) + 1
        if len(self._counts) > REMEMBERED_IDS:
            del self._counts[next(iter(self._counts))]
        return number


def head(status: int, length: int, headers: Iterable[tuple[str, str]] = (), *, kind: str = "text/plain") -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Simulated"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Type: {kind}; charset=utf-8", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@functools.lru_cache(maxsize=2048)
def plain(method: str, status: int, headers: tuple[tuple[str, str], ...] = (), *, delay_seconds: float = 0.0) -> Answer:
    """A short answer that says its status."""
    return whole(method, status, f"{status}\n".encode(), headers, delay_seconds=delay_seconds)


def whole(
    method: str,
    status: int,
    body: bytes,
    headers: Iterable[tuple[str, str]] = (),
    *,
    kind: str = "text/plain",
    delay_seconds: float = 0.0,
) -> Answer:
    if status in (204, 304):
        body = b""
    wire = head(status, len(body), headers, kind=kind)
    return Answer(status, wire if method == "HEAD" else wire + body, delay_seconds)


def as_json(method: str, document: object) -> Answer:
    return whole(method, 200, json.dumps(document, ensure_ascii=False).encode(), kind="application/json")


def _number(text: str, low: int, high: int) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high else None


def ok(request: Request, argument: str, memory: Memory) -> Answer:
    return plain(request.method, 200)


def status(request: Request, argument: str, memory: Memory) -> Answer | None:
    code = _number(argument, 200, 599)
    if code is None:
        return None
    redirects = 300 <= code < 400 and code != 304
    return plain(request.method, code, (("Location", "/ok"),) if redirects else ())


def flaky(request: Request, argument: str, memory: Memory) -> Answer | None:
    failures = _number(argument, 0, 1_000_000)
    if failures is None:
        return None
    return plain(request.method, 503 if memory.count(request) <= failures else 200)


def slow(request: Request, argument: str, memory: Memory) -> Answer | None:
    milliseconds = _number(argument, 0, 3_600_000)
    return None if milliseconds is None else plain(request.method, 200, delay_seconds=milliseconds / 1000)


def drip(request: Request, argument: str, memory: Memory) -> Answer:
    if request.method == "HEAD":
        return Answer(200, head(200, 1_000_000_000))
    return Answer(200, head(200, 1_000_000_000), rest=itertools.repeat(b"."), pause_seconds=DRIP_SECONDS)


def drip_head(request: Request, argument: str, memory: Memory) -> Answer:
    return Answer(None, b"HTTP/1.1 200 OK\r\nX-Drip: ", rest=itertools.repeat(b"."), pause_seconds=DRIP_SECONDS)


def reset(request: Request, argument: str, memory: Memory) -> Answer:
    return Answer(None, end=End.RESET)


def close(request: Request, argument: str, memory: Memory) -> Answer:
    return Answer(None, end=End.CLOSE)


def never(request: Request, argument: str, memory: Memory) -> Answer:
    return Answer(None, end=End.SILENCE)


def big(request: Request, argument: str, memory: Memory) -> Answer | None:
    size = _number(argument, 0, 10_000_000_000) if argument else BIG_BYTES
    if size is None:
        return None
    if request.method == "HEAD":
        return Answer(200, head(200, size))
    whole_pieces, remainder = divmod(size, 65_536)
    pieces = itertools.chain(itertools.repeat(b"x" * 65_536, whole_pieces), [b"x" * remainder])
    return Answer(200, head(200, size), rest=pieces)


@functools.cache
def _bomb() -> bytes:
    """A gzip file of zeros: one deflated megabyte, a hundred times over, some 100 KB in all."""
    megabyte = bytes(MEGABYTE)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(megabyte) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(BOMB_MEGABYTES):
        checksum = zlib.crc32(megabyte, checksum)
    return b"\x1f\x8b\x08" + bytes(7) + block * BOMB_MEGABYTES + b"\x03\x00" + struct.pack(
        "<II", checksum, BOMB_MEGABYTES * MEGABYTE
    )  # fmt: skip


def gzip_bomb(request: Request, argument: str, memory: Memory) -> Answer:
    body = _bomb()
    wire = head(200, len(body), [("Content-Encoding", "gzip")])
    if request.method == "HEAD":
        return Answer(200, wire)
    return Answer(200, wire, rest=[body[start : start + 65_536] for start in range(0, len(body), 65_536)])


def echo(request: Request, argument: str, memory: Memory) -> Answer:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    document: dict[str, object] = {"method": request.method, "path": request.target, "headers": headers}
    try:
        document["body"] = request.body.decode()
    except UnicodeDecodeError:
        document["body_base64"] = base64.b64encode(request.body).decode()
    return as_json(request.method, document)


def retry_after(request: Request, argument: str, memory: Memory) -> Answer | None:
    seconds = _number(argument, 0, 10_000_000)
    if seconds is None:
        return None
    if memory.count(request) > 1:
        return plain(request.method, 200)
    return plain(request.method, 429, (("Retry-After", str(seconds)),))


def json_verdict(request: Request, argument: str, memory: Memory) -> Answer | None:
    return as_json(request.method, {"ok": argument == "ok"}) if argument in ("ok", "error") else None


def many_headers(request: Request, argument: str, memory: Memory) -> Answer | None:
    number = _number(argument, 0, 100_000)
    if number is None:
        return None
    return whole(request.method, 200, b"200\n", [(f"X-Simulated-{index}", "x") for index in range(1, number + 1)])


def index(request: Request, argument: str, memory: Memory) -> Answer | None:
    if argument:
        return None
    rows = "".join(f"<dt><code>{escape(path)}</code></dt><dd>{escape(does)}</dd>" for path, does in PATHS.items())
    page = f"<!doctype html><title>partner simulator</title><h1>Partner simulator</h1><dl>{rows}</dl>"
    return whole(request.method, 200, page.encode(), kind="text/html")


PATHS = {
    "/ok": "200",
    "/status/<n>": "that status, 200 to 599; a redirect points to /ok",
    "/flaky/<n>": "503 for the first n requests with the same Webhook-Id, then 200",
    "/slow/<ms>": "200 after that time",
    "/drip": "the head, then one byte of the body each 100 ms, for ever",
    "/drip-head": "one byte of the head each 100 ms, for ever",
    "/reset": "reads the request, then resets the connection",
    "/close": "reads the request, then closes the connection",
    "/never": "reads the request and never answers",
    "/big, /big/<bytes>": "a body of 10 MB, or of that size",
    "/gzip-bomb": "some 100 KB of gzip that unpack to 100 MB",
    "/echo": "the request as JSON",
    "/retry-after/<seconds>": "429 with Retry-After for the first request of a Webhook-Id, then 200",
    "/json/ok, /json/error": '200 with {"ok": true} or {"ok": false}',
    "/headers/<n>": "200 with n headers more",
}
Route = Callable[[Request, str, Memory], Answer | None]
ROUTES: dict[str, Route] = {
    "": index,
    "ok": ok,
    "status": status,
    "flaky": flaky,
    "slow": slow,
    "drip": drip,
    "drip-head": drip_head,
    "reset": reset,
    "close": close,
    "never": never,
    "big": big,
    "gzip-bomb": gzip_bomb,
    "echo": echo,
    "retry-after": retry_after,
    "json": json_verdict,
    "headers": many_headers,
}


def answer(request: Request, memory: Memory) -> Answer:
    """The path's answer; 404 for a path that is not in ``PATHS``."""
    name, _, argument = request.target.partition("?")[0][1:].partition("/")
    route = ROUTES.get(name)
    found = None if route is None else route(request, argument, memory)
    return found if found is not None else plain(request.method, 404)
