"""The simulated partner's server. Raw asyncio: the benchmark's receiver must cost less than what is measured."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from config.embedded.simulator.answers import Answer, End, Memory, answer, plain
from config.embedded.simulator.reading import Request, RequestReader, UnreadableRequest

BACKLOG = 4096
# l_onoff = 1, l_linger = 0: closing the socket sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as the partner received it; reported when it has been read whole, before any of the answer goes out."""

    at: float
    method: str
    path: str  # the raw target, query included, exactly as on the wire
    headers: list[tuple[str, str]]
    body: bytes
    answered: int | None  # the status that goes out, None where none ever does


class Simulator:
    """Serves between ``start`` and ``close``; ``on_request`` is called in the event loop's thread."""

    def __init__(self, on_request: Callable[[SeenRequest], None] | None = None) -> None:
        self.on_request = on_request
        self.memory = Memory()
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port (a free one for 0)."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), host, port, backlog=BACKLOG, reuse_address=True
        )
        return cast("int", self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.drop()
        await self._server.wait_closed()
        self._server = None


class Connection(asyncio.Protocol):
    """One connection: its requests are answered one after the other, in their order."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._reader = RequestReader()
        self._answering = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._simulator.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._simulator.connections.discard(self)
        self._answering = True  # what is still in the buffer gets no answer
        if self._timer is not None:
            self._timer.cancel()
        if self._rest is not None:
            self._rest.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._serve()

    def drop(self) -> None:
        self._transport.abort()

    def _serve(self) -> None:
        while not self._answering:
            try:
                request = self._reader.next()
            except UnreadableRequest as error:
                self._answering = True
                self._transport.write(plain("GET", error.status).wire)
                self._transport.close()
                return
            if request is None:
                if self._reader.wants_continue:
                    self._reader.wants_continue = False
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._answer(request)

    def _answer(self, request: Request) -> None:
        reply = answer(request, self._simulator.memory)
        if self._simulator.on_request is not None:
            seen = SeenRequest(time.time(), request.method, request.target, request.headers, request.body, reply.status)
            self._simulator.on_request(seen)
        end = End.CLOSE if reply.end is End.KEEP and not request.keep_alive else reply.end
        if reply.delay_seconds:
            self._answering = True
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(reply.delay_seconds, self._send, reply, end)
        else:
            self._send(reply, end)

    def _send(self, reply: Answer, end: End) -> None:
        was_waiting, self._answering = self._answering, True
        if reply.wire:
            self._transport.write(reply.wire)
        if reply.rest:
            self._rest = asyncio.get_running_loop().create_task(self._send_rest(reply, end))
            return
        self._finish(end)
        if was_waiting:
            self._serve()

    async def _send_rest(self, reply: Answer, end: End) -> None:
        for piece in reply.rest:
            await self._writable.wait()
            self._transport.write(piece)
            if reply.pause_seconds:
                await asyncio.sleep(reply.pause_seconds)
        self._rest = None
        self._finish(end)
        self._serve()

    def _finish(self, end: End) -> None:
        match end:
            case End.KEEP:
                self._answering = False
            case End.CLOSE:
                self._transport.close()
            case End.RESET:
                connection = cast("socket.socket", self._transport.get_extra_info("socket"))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._transport.abort()
            case End.SILENCE:
                pass
