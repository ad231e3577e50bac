"""One thread around one libcurl multi handle: a thousand and more transfers in flight, none of them costing a thread.

pycurl has no multi poll or wakeup, so libcurl's sockets are watched here (socket_action on a selector) beside a pipe by
which other threads say that there is something to send.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections import deque
from concurrent.futures import Future

import pycurl

from deliveries.transport.failures import WRITE_ERROR, failure_kind
from deliveries.transport.guard import Guard
from deliveries.transport.request import Outgoing
from notifier.policy.exchange import Exchange, FailureKind, Timing

logger = logging.getLogger(__name__)

# A kept connection is closed after this long, so that a change of DNS or of a rule takes effect.
CONNECTION_MAX_AGE_SECONDS = 60
# libcurl adds these by itself; an empty value takes them out unless the request has them.
_UNWANTED = ("Expect", "Content-Type")


class _Transfer:
    __slots__ = ("body", "easy", "future", "guard", "lines", "outgoing", "room", "truncated")

    def __init__(self, outgoing: Outgoing, room: int) -> None:
        self.outgoing = outgoing
        self.future: Future[Exchange] = Future()
        self.guard = Guard(outgoing.limits.allow_private_cidrs)
        self.lines: list[bytes] = []
        self.body: list[bytes] = []
        self.room = room
        self.truncated = False
        self.easy: pycurl.Curl | None = None

    def write(self, chunk: bytes) -> int | None:
        """libcurl's WRITEFUNCTION: keep what there is room for; any other answer than None ends the transfer."""
        if len(chunk) > self.room:
            self.body.append(chunk[: self.room])
            self.room, self.truncated = 0, True
            return 0
        self.body.append(chunk)
        self.room -= len(chunk)
        return None


class Engine:
    """Sends requests; each ends within its total time-out, whatever the partner does.

    ``submit`` may be called from any thread. Redirects are not followed; no proxy, netrc or cookie of the environment is
    used; TLS is verified against ``ca_file``; of a response at most ``read_bytes`` (after decompression) are read.
    """

    def __init__(self, *, ca_file: str, read_bytes: int) -> None:
        self._ca_file = ca_file
        self._read_bytes = read_bytes
        self._submitted: deque[_Transfer] = deque()
        self._idle: list[pycurl.Curl] = []
        self._running: dict[pycurl.Curl, _Transfer] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._timer_at: float | None = None
        self._stopping = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def submit(self, outgoing: Outgoing) -> Future[Exchange]:
        """Send the request; the future's callbacks run in the engine's thread and must not block.

        The future holds an Exchange, or the exception where the request could not even be built.
        """
        transfer = _Transfer(outgoing, self._read_bytes)
        self._submitted.append(transfer)
        self._wake()
        return transfer.future

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread. Transfers still in flight are dropped: their futures stay open, their leases will run out."""
        self._stopping = True
        self._wake()
        self.thread.join(timeout)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wakes already
            os.write(self._wake_writer, b"\0")

    # --- the engine's thread ---

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        finally:
            for easy in self._running:
                self._multi.remove_handle(easy)
            self._multi.close()
            self._selector.close()
            os.close(self._wake_reader)

    def _turn(self) -> None:
        timeout = None if self._timer_at is None else max(0.0, self._timer_at - time.monotonic())
        for key, events in self._selector.select(timeout):
            if key.fd == self._wake_reader:
                os.read(self._wake_reader, 65_536)
                continue
            action = pycurl.CSELECT_IN if events & selectors.EVENT_READ else 0
            action |= pycurl.CSELECT_OUT if events & selectors.EVENT_WRITE else 0
            self._multi.socket_action(key.fd, action)
        while self._submitted:
            self._begin(self._submitted.popleft())
        if self._timer_at is not None and self._timer_at <= time.monotonic():
            self._timer_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    def _watch(self, what: int, fd: int, multi: pycurl.CurlMulti, data: object) -> None:
        """libcurl's SOCKETFUNCTION: which of its sockets to watch for what."""
        if what == pycurl.POLL_REMOVE:
            with contextlib.suppress(KeyError, ValueError):  # it was never watched
                self._selector.unregister(fd)
            return
        events = (selectors.EVENT_READ if what & pycurl.POLL_IN else 0) | (
            selectors.EVENT_WRITE if what & pycurl.POLL_OUT else 0
        )
        try:
            self._selector.modify(fd, events)
        except KeyError:
            self._selector.register(fd, events)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl's TIMERFUNCTION: call it back then; -1: no need to."""
        self._timer_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _begin(self, transfer: _Transfer) -> None:
        easy = self._idle.pop() if self._idle else pycurl.Curl()
        try:
            self._configure(easy, transfer)
        except Exception as error:  # noqa: BLE001 - one row's request cannot be built: its own failure, not the engine's
            easy.reset()
            self._idle.append(easy)
            transfer.future.set_exception(error)
            return
        transfer.easy = easy
        self._running[easy] = transfer
        self._multi.add_handle(easy)

    def _configure(self, easy: pycurl.Curl, transfer: _Transfer) -> None:
        request, limits = transfer.outgoing.request, transfer.outgoing.limits
        easy.setopt(pycurl.URL, request.url or "")
        easy.setopt(pycurl.PATH_AS_IS, 1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 0)
        easy.setopt(pycurl.PROXY, "")
        easy.setopt(pycurl.NOSIGNAL, 1)
        easy.setopt(pycurl.CAINFO, self._ca_file)
        easy.setopt(pycurl.ACCEPT_ENCODING, "")
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(limits.connect_timeout * 1000)))
        easy.setopt(pycurl.TIMEOUT_MS, max(1, int(limits.total_timeout * 1000)))
        easy.setopt(pycurl.MAXAGE_CONN, CONNECTION_MAX_AGE_SECONDS)
        easy.setopt(pycurl.MAXLIFETIME_CONN, CONNECTION_MAX_AGE_SECONDS)
        easy.setopt(pycurl.OPENSOCKETFUNCTION, transfer.guard.open_socket)
        easy.setopt(pycurl.PREREQFUNCTION, transfer.guard.before_request)
        easy.setopt(pycurl.HEADERFUNCTION, transfer.lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, transfer.write)
        self._configure_method(easy, request.method or "POST", request.body)
        names = {name.lower() for name in request.headers}
        lines = [
            # libcurl takes "Name:" as "leave it out" and "Name;" as "send it empty".
            (f"{name}: {value}" if value else f"{name};").encode("latin-1")
            for name, value in request.headers.items()
            if name.lower() != "content-length"
        ]
        lines += [f"{name}:".encode() for name in _UNWANTED if name.lower() not in names]
        easy.setopt(pycurl.HTTPHEADER, lines)

    def _configure_method(self, easy: pycurl.Curl, method: str, body: bytes | str | None) -> None:
        data = body.encode() if isinstance(body, str) else body
        if method == "HEAD":
            easy.setopt(pycurl.NOBODY, 1)
        elif data is None and method in ("GET", "DELETE"):
            easy.setopt(pycurl.HTTPGET, 1)
            easy.setopt(pycurl.CUSTOMREQUEST, method)
        else:
            easy.setopt(pycurl.POSTFIELDS, data or b"")
            easy.setopt(pycurl.CUSTOMREQUEST, method)

    def _collect(self) -> None:
        """Hand over what has finished."""
        while True:
            queued, good, bad = self._multi.info_read()
            for easy in good:
                self._end(easy, 0, "")
            for easy, code, message in bad:
                self._end(easy, code, message)
            if not queued:
                return

    def _end(self, easy: pycurl.Curl, code: int, message: str) -> None:
        transfer = self._running.pop(easy)
        self._multi.remove_handle(easy)
        exchange = _exchange(transfer, easy, code, message)
        easy.reset()
        self._idle.append(easy)
        transfer.future.set_result(exchange)


def _exchange(transfer: _Transfer, easy: pycurl.Curl, code: int, message: str) -> Exchange:
    timing = _timing(easy)
    maybe_sent = easy.getinfo(pycurl.REQUEST_SIZE) > 0
    remote_ip = easy.getinfo(pycurl.PRIMARY_IP) or None
    if code == WRITE_ERROR and transfer.truncated:
        code = 0  # we stopped reading; the response's head is whole
    if code:
        refusal = transfer.guard.refusal
        return Exchange(
            failure=FailureKind.ADDRESS_BLOCKED if refusal else failure_kind(code, easy),
            failure_detail=refusal or message or f"libcurl error {code}",
            timing=timing,
            remote_ip=remote_ip,
            maybe_sent=maybe_sent and refusal is None,
        )
    return Exchange(
        status=easy.getinfo(pycurl.RESPONSE_CODE),
        headers=_headers(transfer.lines),
        body=b"".join(transfer.body),
        body_truncated=transfer.truncated,
        timing=timing,
        remote_ip=remote_ip,
    )


def _timing(easy: pycurl.Curl) -> Timing:
    """libcurl's times count from the start; ours are the phases."""
    dns, connected = easy.getinfo(pycurl.NAMELOOKUP_TIME), easy.getinfo(pycurl.CONNECT_TIME)
    secured, sent = easy.getinfo(pycurl.APPCONNECT_TIME), easy.getinfo(pycurl.PRETRANSFER_TIME)
    first, total = easy.getinfo(pycurl.STARTTRANSFER_TIME), easy.getinfo(pycurl.TOTAL_TIME)
    return Timing(
        dns_ms=_ms(dns if connected else 0),
        connect_ms=_ms(connected - dns),
        tls_ms=_ms(secured - connected if secured else 0),
        ttfb_ms=_ms(first - sent if first else 0),
        total_ms=_ms(total),
    )


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)


def _headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    """The last response's headers: interim ones (100, 103) come before it in the same list."""
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers.clear()
            continue
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
    return tuple(headers)
