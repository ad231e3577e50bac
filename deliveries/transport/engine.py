"""One thread around one libcurl multi handle: a thousand and more transfers in flight, none of them costing a thread.

pycurl has no multi poll or wakeup, so libcurl's sockets are watched here (socket_action on a selector) beside a pipe by
which other threads say that there is something to send.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import threading
import time
from concurrent.futures import Future
from functools import lru_cache, partial

import pycurl

from deliveries.transport.doorbell import Doorbell
from deliveries.transport.egress import Egress, host_and_port
from deliveries.transport.guard import Guard
from deliveries.transport.handle import CONNECTION_MAX_AGE_SECONDS, Handles
from deliveries.transport.kept import Kept
from deliveries.transport.names import Addresses, LookUp, Names, look_up
from deliveries.transport.origins import Origins
from deliveries.transport.queue import FairQueue
from deliveries.transport.request import REMEMBERED, Outgoing
from deliveries.transport.transfer import Settled, Then, Transfer, exchange_of, into, is_trouble, milliseconds
from notifier.policy.exchange import Exchange, FailureKind, Timing

logger = logging.getLogger(__name__)

# So many are begun before the sockets' next turn. A partner that answers at once would have hundreds of answers waiting here,
# and another's behind them.
BEGIN_AT_ONCE = 16
COLLECT_AT_ONCE = 32
# A host that must be looked up. A literal address need not, nor localhost, which libcurl knows.
_NAME = re.compile(r"https?://(?!localhost\.?[:/?#])((?=[^:/?#]*[a-z])[a-z0-9._-]+)(?::([0-9]+))?(?=[/?#]|$)", re.I)


class Engine:
    """Sends requests; each ends within its total time-out, whatever the partner does.

    ``send`` and ``submit`` may be called from any thread. Redirects are not followed; no proxy, netrc or cookie of the environment is
    used; TLS is verified against ``ca_file``; of a response at most ``read_bytes`` (after decompression) are read.
    A request goes out once at most. HTTP/2 is spoken where TLS agrees to it: not with a client certificate, not through a
    proxy, and not for a while after it failed. What libcurl would send again then, the guard stops.
    """

    def __init__(
        self,
        *,
        ca_file: str,
        read_bytes: int,
        look_up: LookUp = look_up,
        egress: Egress = Egress(),
        connection_max_age: int = CONNECTION_MAX_AGE_SECONDS,
    ) -> None:
        self._egress = egress
        self._read_bytes = read_bytes
        self._submitted: FairQueue[Transfer] = FairQueue()
        self._idle: list[pycurl.Curl] = []
        self._running: dict[pycurl.Curl, Transfer] = {}
        self._kept = Kept()
        self._origins = Origins()
        self._handles = Handles(
            ca_file=ca_file, egress=egress, origins=self._origins, connection_max_age=connection_max_age
        )
        self._doorbell = Doorbell()
        self._names: Names[Transfer] = Names(look_up, self._doorbell.ring)
        # Not a selector of the standard library, whose bookkeeping costs as much as the request's system calls.
        self._epoll = select.epoll()
        self._epoll.register(self._doorbell, select.EPOLLIN)
        self._watched: set[int] = set()
        self._timer_at: float | None = None
        self._uncollected = False
        # Sockets of HTTP/2 connections on which a transfer has ended and others go on.
        self._to_read_on: set[int] = set()
        self._stopping = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def send(self, outgoing: Outgoing, then: Then, *, sender: str = "") -> None:
        """Send the request; ``then`` gets its Exchange, or the exception where the request could not even be built.

        It is called once, in the engine's thread, and must not block; of a stopped engine never.
        Requests of several senders are begun in turns, and those of one not all at once (``FairQueue``).
        """
        self._submitted.put(sender, Transfer(outgoing, sender, then, self._read_bytes))
        self._doorbell.ring()

    def submit(self, outgoing: Outgoing, *, sender: str = "") -> Future[Exchange]:
        """``send``, for who waits for it: at a sixteenth of a worker's interpreter, a future for each delivery is too dear.

        Of a stopped engine the future stays open. It cannot be cancelled.
        """
        future: Future[Exchange] = Future()
        future.set_running_or_notify_cancel()
        self.send(outgoing, into(future), sender=sender)
        return future

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread. Transfers still in flight are dropped: nothing is called then, their leases will run out."""
        self._stopping = True
        self._doorbell.ring()
        self.thread.join(timeout)

    # --- the engine's thread ---

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
            self._close()
        except BaseException:
            # Like a station's: nothing would be sent any more, unseen; leases and sweep recover what was in flight.
            logger.critical("the engine died of an unexpected error; the process ends", exc_info=True)
            os._exit(70)

    def _close(self) -> None:
        for easy in self._running:
            self._multi.remove_handle(easy)
        self._multi.close()
        self._epoll.close()
        self._doorbell.close()

    def _turn(self) -> None:
        """What came back first, then a few new ones: of those on their way never more are answered than one turn can serve."""
        for fd, events in self._epoll.poll(self._patience()):
            if fd == self._doorbell.fileno():
                self._doorbell.answer()
                continue
            # Errors and hang-ups are for libcurl to find out, in whichever direction it asks.
            action = pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0
            action |= pycurl.CSELECT_OUT if events & ~select.EPOLLIN else 0
            self._multi.socket_action(fd, action)
        self._read_on()
        for _ in range(BEGIN_AT_ONCE):
            waiting = self._submitted.get()
            if waiting is None:
                break
            self._begin(waiting[1])
        for transfer, addresses in self._names.answered():
            self._looked_up(transfer, addresses)
        for transfer in self._names.late():
            self._not_looked_up(transfer, "the name could not be looked up in time")
        if self._timer_at is not None and self._timer_at <= time.monotonic():
            self._timer_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    def _patience(self) -> float | None:
        """How long nothing need be done unless a socket has news, in seconds; None: for ever."""
        if self._uncollected or self._to_read_on:
            return 0.0
        deadlines = (self._timer_at, self._names.next_deadline(), self._submitted.next_change())
        timers = [at for at in deadlines if at is not None]
        return max(0.0, min(timers) - time.monotonic()) if timers else None

    def _read_on(self) -> None:
        """libcurl may have read, with what ended one transfer, what others on the connection wait for, and not look again before
        the socket has news, which may be never (8.23: one time in four, where three wait and a fourth is refused).
        """
        while self._to_read_on:
            self._multi.socket_action(self._to_read_on.pop(), pycurl.CSELECT_IN)

    def _watch(self, what: int, fd: int, multi: pycurl.CurlMulti, data: object) -> None:
        """libcurl's SOCKETFUNCTION: which of its sockets to watch for what."""
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(fd)
            with contextlib.suppress(OSError):  # it was never watched, or is closed already
                self._epoll.unregister(fd)
            return
        events = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (select.EPOLLOUT if what & pycurl.POLL_OUT else 0)
        if fd in self._watched:
            try:
                self._epoll.modify(fd, events)
            except FileNotFoundError:  # another socket has got its number
                self._epoll.register(fd, events)
            return
        self._epoll.register(fd, events)
        self._watched.add(fd)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl's TIMERFUNCTION: call it back then; -1: no need to."""
        self._timer_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _begin(self, transfer: Transfer) -> None:
        transfer.began = time.monotonic()
        if transfer.began > transfer.outgoing.limits.begin_before:
            self._settle(transfer, _held_up())
            return
        name = _name_in(transfer.outgoing.request.url or "")
        if name is None:
            self._send(transfer)
            return
        addresses = self._names.addresses(name)
        if addresses is not None:
            transfer.addresses = addresses
            self._send(transfer)
            return
        limits = transfer.outgoing.limits
        deadline = transfer.began + min(limits.connect_timeout, limits.total_timeout)
        self._names.wait(name, transfer, deadline)

    def _looked_up(self, transfer: Transfer, addresses: Addresses) -> None:
        transfer.looked_up_seconds = time.monotonic() - transfer.began
        if addresses:
            transfer.addresses = addresses
            self._send(transfer)
        else:
            self._not_looked_up(transfer, "the name has no address, or its servers do not answer")

    def _not_looked_up(self, transfer: Transfer, why: str) -> None:
        waited = milliseconds(time.monotonic() - transfer.began)
        timing = Timing(dns_ms=waited, total_ms=waited)
        self._settle(
            transfer, Exchange(failure=FailureKind.DNS_FAILURE, failure_detail=why, timing=timing, maybe_sent=False)
        )

    def _send(self, transfer: Transfer) -> None:
        transfer.http2 = self._offers_http2(transfer)
        joined = self._kept.joined if transfer.http2 else None
        may_share = transfer.http2 and self._origins.speaks_http2(transfer.outgoing.request.url or "")
        is_open = partial(self._kept.is_open, transfer.outgoing.client, may_share)
        transfer.guard = Guard(transfer.outgoing.limits.allow_private_cidrs, is_open, self._egress, joined)
        if (transfer.addresses or self._egress.proxy) and (refusal := self._refusal(transfer)):
            self._settle(transfer, _refused(refusal, milliseconds(transfer.looked_up_seconds)))
            return
        easy = self._idle.pop() if self._idle else pycurl.Curl()
        try:
            self._handles.configure(easy, transfer)
            self._multi.add_handle(easy)
        except Exception as error:  # noqa: BLE001 - one row's request cannot be built: its own failure, not the engine's
            easy.reset()
            self._idle.append(easy)
            self._settle(transfer, error)
            return
        self._running[easy] = transfer

    def _offers_http2(self, transfer: Transfer) -> bool:
        url = transfer.outgoing.request.url or ""
        if not url.startswith("https:") or transfer.outgoing.client is not None or self._egress.proxy is not None:
            return False
        return self._origins.offers_http2(url)

    def _refusal(self, transfer: Transfer) -> str | None:
        """What the addresses of the host say against it, all of them."""
        host, port = host_and_port(transfer.outgoing.request.url or "")
        if not transfer.addresses:  # a literal address, which no socket of ours will show where there is a proxy
            transfer.addresses = (host,)
        return transfer.guard.refuses(host, port, transfer.addresses)

    def _collect(self) -> None:
        """Hand over what has finished, some at a time: hundreds time out in the same moment."""
        queued, good, bad = self._multi.info_read(COLLECT_AT_ONCE)
        for easy in good:
            self._end(easy, 0, "")
        for easy, code, message in bad:
            self._end(easy, code, message)
        self._uncollected = queued > 0

    def _end(self, easy: pycurl.Curl, code: int, message: str) -> None:
        transfer = self._running.pop(easy)
        self._kept.note(easy, transfer)
        if self._kept.is_shared(transfer):
            self._to_read_on.add(easy.getinfo(pycurl.ACTIVESOCKET))
        self._multi.remove_handle(easy)
        version = easy.getinfo(pycurl.INFO_HTTP_VERSION) if transfer.http2 else 0
        exchange = exchange_of(transfer, easy, code, message)
        easy.reset()
        self._idle.append(easy)
        if transfer.guard.unusable:
            transfer.fresh = True
            self._send(transfer)
            return
        if transfer.http2 or transfer.guard.stale:
            self._learn(transfer, exchange, version)
        self._settle(transfer, exchange)

    def _settle(self, transfer: Transfer, settled: Settled) -> None:
        self._submitted.ended(transfer.sender)
        try:
            transfer.then(settled)
        except Exception:
            logger.exception("what follows a request failed; the next ones are sent")

    def _learn(self, transfer: Transfer, exchange: Exchange, version: int) -> None:
        """What a transfer tells of its server."""
        url = transfer.outgoing.request.url or ""
        if transfer.guard.stale and not (transfer.http2 and self._origins.speaks_http2(url)):
            self._origins.distrust_kept(url)
        if transfer.http2:
            self._origins.note_version(url, version)
            if is_trouble(transfer, exchange):
                self._origins.distrust_http2(url)


@lru_cache(maxsize=REMEMBERED)
def _name_in(url: str) -> str | None:
    """The host of a URL, where it is a name that must be looked up."""
    found = _NAME.match(url)
    return found and found[1].lower()


def _refused(why: str, looked_up_ms: float) -> Exchange:
    timing = Timing(dns_ms=looked_up_ms, total_ms=looked_up_ms)
    return Exchange(failure=FailureKind.ADDRESS_BLOCKED, failure_detail=why, timing=timing, maybe_sent=False)


def _held_up() -> Exchange:
    """Of a process that was stopped, or starved, between claim and send: another worker may have the task by now."""
    return Exchange(failure=FailureKind.HELD_UP, failure_detail="it was too late to begin", maybe_sent=False)
