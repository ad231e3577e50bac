"""An HTTP proxy on loopback that knows CONNECT, and remembers what it was asked for."""

from __future__ import annotations

import asyncio
import contextlib

from tests.support.raw_server import Connection, RawServer

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n"


class EgressProxy(RawServer):
    """Connects to what it is told, or answers ``refusal``. ``asked`` has the heads of the requests."""

    def __init__(self, *, refusal: bytes | None = None) -> None:
        super().__init__(self._tunnel)
        self._refusal = refusal
        self.asked: list[bytes] = []

    @property
    def targets(self) -> list[str]:
        return [head.split(b" ")[1].decode() for head in self.asked]

    async def _tunnel(self, connection: Connection) -> None:
        head = await connection.head()
        self.asked.append(head)
        if self._refusal is not None:
            await connection.send(self._refusal)
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))

        async def back() -> None:
            await connection.send(ESTABLISHED)
            while chunk := await reader.read(65_536):
                await connection.send(chunk)

        returning = asyncio.create_task(back())
        try:
            while chunk := await connection.read():
                writer.write(chunk)
        finally:
            returning.cancel()
            writer.transport.abort()
            await asyncio.gather(returning, return_exceptions=True)
            with contextlib.suppress(OSError):
                await writer.wait_closed()
