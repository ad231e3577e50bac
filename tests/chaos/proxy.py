"""A TCP proxy in front of database, broker and web: all its connections can be reset at once, or pass nothing for a while.

``python -m tests.chaos.proxy LISTEN:TARGET …`` with ports of this machine; commands ``reset``, ``hold`` and ``pass``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any, cast

from config.limits import allow_many_files
from tests.chaos.operated import Command, operate_async

# l_onoff = 1, l_linger = 0: closing the socket sends RST instead of FIN.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """End a connection with RST."""
    connection = cast("socket.socket", transport.get_extra_info("socket"))
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


class Side(asyncio.Protocol):
    """One of the two connections of a relay. Reads nothing while the proxy holds, or while its peer cannot be written."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._peer_is_full = False
        self.peer: Side | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._proxy.sides.add(self)
        self.transport.pause_reading()

    def join(self, peer: Side) -> None:
        self.peer = peer
        self.heed()

    def heed(self) -> None:
        """Read, or do not, as things stand."""
        if self.transport.is_closing() or self.peer is None:
            return
        if self._proxy.holds or self._peer_is_full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        self._fill(True)

    def resume_writing(self) -> None:
        self._fill(False)

    def _fill(self, full: bool) -> None:
        if self.peer is not None:
            self.peer._peer_is_full = full
            self.peer.heed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.sides.discard(self)
        if self.peer is not None:
            # What was received before the end still goes out.
            self.peer.transport.close()


class Accepted(Side):
    """The side that somebody connected to; the other one is connected now."""

    def __init__(self, proxy: Proxy, target: int) -> None:
        super().__init__(proxy)
        self._target = target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.connect(self, self._target)


class Proxy:
    """Relays from each listening port to its target."""

    def __init__(self) -> None:
        self.holds = False
        self.sides: set[Side] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    async def listen(self, port: int, target: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Accepted(self, target), "127.0.0.1", port, backlog=1024)

    def connect(self, side: Side, target: int) -> None:
        connecting = asyncio.get_running_loop().create_task(self._connect(side, target))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    async def _connect(self, side: Side, target: int) -> None:
        await self._passes.wait()
        try:
            _, other = await asyncio.get_running_loop().create_connection(lambda: Side(self), "127.0.0.1", target)
        except OSError:
            # The closest to "connection refused" that can be said after an accept.
            reset(side.transport)
            return
        side.join(other)
        other.join(side)
        for one, peer in ((side, other), (other, side)):
            if one.transport.is_closing():
                peer.transport.close()

    def reset(self) -> int:
        """Reset every connection on both sides; returns how many there were."""
        sides = list(self.sides)
        for side in sides:
            reset(side.transport)
        return len(sides)

    def hold(self) -> None:
        """Pass nothing and connect nothing, and tell nobody: a network that swallows packets."""
        self.holds = True
        self._passes.clear()
        self._heed()

    def pass_on(self) -> None:
        self.holds = False
        self._passes.set()
        self._heed()

    def _heed(self) -> None:
        for side in list(self.sides):
            side.heed()


async def serve(routes: list[tuple[int, int]]) -> None:
    proxy = Proxy()
    for port, target in routes:
        await proxy.listen(port, target)

    async def handle(command: Command) -> dict[str, Any]:
        match command["do"]:
            case "reset":
                return {"connections": proxy.reset()}
            case "hold":
                proxy.hold()
            case "pass":
                proxy.pass_on()
        return {}

    await operate_async(handle)


def main() -> None:
    allow_many_files()
    routes = [argument.split(":") for argument in sys.argv[1:]]
    asyncio.run(serve([(int(port), int(target)) for port, target in routes]))


if __name__ == "__main__":
    main()
