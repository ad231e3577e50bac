"""HTTP/2 for a ``RawServer`` with TLS: what a partner may do to a stream, or to a connection while streams are on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.support.raw_server import OK, Connection

Header = tuple[bytes, bytes]
SERVER = H2Configuration(client_side=False, header_encoding=None)


@dataclass(slots=True)
class Stream:
    """One request, in the hands of the test's handler; ``number`` counts the server's connections from 1."""

    session: Session
    stream_id: int
    headers: list[Header]
    body: bytes = b""
    was_reset: bool = False
    authority: bytes = b""

    @property
    def number(self) -> int:
        return self.session.connection.number

    @property
    def path(self) -> str:
        return self.header(":path")[0].decode()

    def header(self, name: str) -> list[bytes]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name.encode()]

    async def head(self, status: int = 200, *headers: Header, end: bool = False) -> None:
        self.session.h2.send_headers(self.stream_id, [(b":status", b"%d" % status), *headers], end_stream=end)
        await self.session.flush()

    async def data(self, data: bytes, *, end: bool = False) -> None:
        """Send, as far and as fast as the client's windows allow."""
        while data:
            room = self.session.h2.local_flow_control_window(self.stream_id)
            if not room:
                await self.session.news()
                continue
            size = min(room, self.session.h2.max_outbound_frame_size, len(data))
            self.session.h2.send_data(self.stream_id, data[:size])
            data = data[size:]
            await self.session.flush()
        if end:
            self.session.h2.end_stream(self.stream_id)
            await self.session.flush()

    async def answer(self, body: bytes = b"ok", status: int = 200, *headers: Header) -> None:
        await self.head(status, *headers, end=not body)
        if body:
            await self.data(body, end=True)

    async def answer_and_go_away(self) -> None:
        """Both at once, so that whoever reads the answer knows that no request may follow."""
        self.session.h2.send_headers(self.stream_id, [(b":status", b"200")], end_stream=True)
        await self.goaway(self.stream_id)

    async def reset(self, code: ErrorCodes) -> None:
        self.session.h2.reset_stream(self.stream_id, code)
        await self.session.flush()

    async def goaway(self, last_stream_id: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """The connection ends; of the streams above that one nothing was or will be processed (RFC 9113, section 6.8)."""
        self.session.h2.close_connection(code, last_stream_id=last_stream_id)
        await self.session.flush()


StreamHandler = Callable[[Stream], Coroutine[None, None, None]]


@dataclass(eq=False)
class Session:
    """One connection's HTTP/2."""

    connection: Connection
    begun: Callable[[Stream], None]
    whole: bool
    h2: H2Connection = field(default_factory=lambda: H2Connection(SERVER))
    _streams: dict[int, Stream] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, data: bytes) -> list[Stream]:
        """The requests that can be answered by now."""
        ready = []
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                stream = self._streams[event.stream_id] = Stream(self, event.stream_id, list(event.headers))
                self.begun(stream)
                if not self.whole:
                    ready.append(stream)
            elif isinstance(event, DataReceived):
                self._streams[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded) and self.whole:
                ready.append(self._streams[event.stream_id])
            elif isinstance(event, StreamReset):
                self._streams[event.stream_id].was_reset = True
        self._moved.set()
        return ready

    async def flush(self) -> None:
        await self.connection.send(self.h2.data_to_send())

    async def news(self) -> None:
        """Wait for whatever the client sends next."""
        self._moved.clear()
        await self._moved.wait()


class Speaks2:
    """A handler for ``RawServer``: HTTP/2 where the client took it, each request handed on when it is whole, or as soon as it begins.

    To a client that wants HTTP/1.1 every request is answered ``ok``. ``seen`` has the requests of both.
    """

    def __init__(self, handle: StreamHandler, *, max_streams: int = 100, whole: bool = True) -> None:
        self._handle, self._max_streams, self._whole = handle, max_streams, whole
        self.seen: list[tuple[int, str, str]] = []  # connection, version, path
        self.streams: list[Stream] = []

    def _begun(self, stream: Stream) -> None:
        self.seen.append((stream.number, "h2", stream.path))
        self.streams.append(stream)

    def paths(self, version: str = "h2") -> list[str]:
        return [path for _, spoken, path in self.seen if spoken == version]

    async def __call__(self, connection: Connection) -> None:
        if connection.alpn == "h2":
            await self._speak(connection)
        while True:
            received = await connection.request()
            self.seen.append((connection.number, "http/1.1", received.line.split(b" ")[1].decode()))
            await connection.send(OK)

    async def _speak(self, connection: Connection) -> None:
        session = Session(connection, self._begun, self._whole)
        session.h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: self._max_streams}
        )
        session.h2.initiate_connection()
        await session.flush()
        handling: set[asyncio.Task[None]] = set()
        try:
            while received := await connection.read():
                for stream in session.receive(received):
                    handling.add(asyncio.create_task(self._handle(stream)))
                await session.flush()
        except ProtocolError:  # of a client that has not seen our GOAWAY yet
            await connection.closed()
        finally:
            for task in handling:
                task.cancel()
            await asyncio.gather(*handling, return_exceptions=True)
