"""A partner whose every byte is the test's own: what it may do to a connection, and exactly what arrived there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# l_onoff = 1, l_linger = 0: closing the socket sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Received:
    """One request, byte for byte; ``connection`` counts the server's connections from 1."""

    connection: int
    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def headers(self) -> list[bytes]:
        """The header lines, in order, as they came."""
        return self.head.split(b"\r\n")[1:-2]

    def header(self, name: str) -> list[bytes]:
        """Every value of a header."""
        split = [line.partition(b":") for line in self.headers]
        return [value.strip() for key, _, value in split if key.lower() == name.lower().encode()]


class Connection:
    """One accepted connection in the hands of the test's handler."""

    def __init__(
        self, number: int, requests: list[Received], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self._requests = requests
        self._reader, self._writer = reader, writer

    async def request(self) -> Received:
        """The next request, whole; it is among the server's ``requests`` from now on."""
        head = await self.head()
        unread = Received(self.number, head, b"")
        length = unread.header("content-length")
        body = await self._reader.readexactly(int(length[0])) if length else b""
        received = Received(self.number, head, body)
        self._requests.append(received)
        return received

    async def head(self) -> bytes:
        """The next request's head alone."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self) -> bytes:
        """Whatever has come, which need not be HTTP."""
        return await self._reader.read(65_536)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    @property
    def client_name(self) -> str | None:
        """The common name in the certificate that the client showed (mutual TLS)."""
        certificate = self._writer.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if names else None

    @property
    def alpn(self) -> str | None:
        """What TLS agreed to speak."""
        tls = self._writer.get_extra_info("ssl_object")
        return tls.selected_alpn_protocol() if tls is not None else None

    async def closed(self) -> None:
        """Wait, unread bytes thrown away, until the other side has closed the connection."""
        while await self._reader.read(65_536):
            pass

    def close(self) -> None:
        """End the connection with FIN."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with RST."""
        raw = cast("socket.socket", self._writer.get_extra_info("socket"))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()


Handler = Callable[[Connection], Awaitable[None]]


def answering(*answers: bytes) -> Handler:
    """Answer each request of a connection; the last answer is repeated."""

    async def handle(connection: Connection) -> None:
        for answer in answers[:-1]:
            await connection.request()
            await connection.send(answer)
        while True:
            await connection.request()
            await connection.send(answers[-1])

    return handle


class RawServer:
    """Serves between ``with`` and its end, one thread for all connections; a connection ends with its handler."""

    def __init__(self, handler: Handler, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._handler = handler
        self._host, self._tls = host, tls
        self._loop = asyncio.new_event_loop()
        self._handling: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()], name="raw server")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._loop.close()

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        return f"{'https' if self._tls else 'http'}://{host or self._host}:{self.port}{path}"

    def call(self, function: Callable[[], None]) -> None:
        """Call in the server's thread, to which the events belong that handlers wait for."""
        self._loop.call_soon_threadsafe(function)

    def idle(self) -> bool:
        """Whether the server has ended every connection."""
        return not self._handling

    async def _serve(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.create_server((self._host, 0), family=family, backlog=4096) as listener:
            listener.setblocking(False)
            self.port = int(listener.getsockname()[1])
            self._listens.set()
            self._loop.add_reader(listener, self._accept, listener)
            await self._ended.wait()
            self._loop.remove_reader(listener)
            for handling in self._handling:
                handling.cancel()
            await asyncio.gather(*self._handling, return_exceptions=True)
            # What was aborted last has its socket closed in the loop's next rounds.
            for _ in range(3):
                await asyncio.sleep(0)

    def _accept(self, listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        self.connections += 1
        handling = self._loop.create_task(self._handle(accepted, self.connections))
        self._handling.add(handling)

        def ended(task: asyncio.Task[None]) -> None:
            accepted.close()  # of a task that was cancelled before it began
            self._handling.discard(task)

        handling.add_done_callback(ended)

    async def _handle(self, accepted: socket.socket, number: int) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(reader)
        making = self._loop.create_task(self._loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self._tls))
        try:
            transport, _ = await asyncio.shield(making)
        except OSError:  # the TLS handshake failed
            return
        except asyncio.CancelledError:
            # The test has ended. Cancelled before the handshake begins, asyncio 3.11 would forget its socket: let it find the end.
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                transport, _ = await making
                transport.abort()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        # A client that went away, or the end of the test, is the end of a connection like any other.
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            try:
                await self._handler(Connection(number, self.requests, reader, writer))
                writer.close()
                await writer.wait_closed()
            finally:
                transport.abort()
                await writer.wait_closed()
