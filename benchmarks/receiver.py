"""The partners' side: answers 200 to any request, as cheaply as Python can, and counts.

``POST /<milliseconds>`` is answered after that time. ``POST /<milliseconds>/<number>`` is also written to the ledger, with
the time at which it had arrived whole. Each partner has a loopback address of its own (``address``), as partners have.

``python -m benchmarks.receiver --port 9000 --addresses 20 --folder DIR`` serves until SIGTERM. Counts and ledger are files
in the folder; ``Receiver`` starts it and reads them.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import os
import re
import resource
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
COUNTS = "counts"
LEDGER = "ledger"
# Requests that arrived, and those of them that wait for their answer.
ARRIVED, WAITING = 0, 1
ENTRY = struct.Struct("<qq")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d+)")
_PER_BLOCK = 250


def address(number: int) -> str:
    """The loopback address of the partner with this number, from 0."""
    rest, last = divmod(number, _PER_BLOCK)
    return f"127.1.{rest}.{last + 1}"


def address_sql(number: str) -> str:
    """The same as an SQL expression."""
    return f"CONCAT('127.1.', ({number}) DIV {_PER_BLOCK}, '.', ({number}) MOD {_PER_BLOCK} + 1)"


class Connection(asyncio.Protocol):
    """Takes requests with Content-Length, or without a body; as many as come at once."""

    __slots__ = ("buffer", "counts", "ledger", "loop", "transport")

    def __init__(self, counts: memoryview, ledger: int, loop: asyncio.AbstractEventLoop) -> None:
        self.counts, self.ledger, self.loop = counts, ledger, loop
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        begin = 0
        while True:
            head = data.find(b"\r\n\r\n", begin)
            if head < 0:
                break
            length = _LENGTH.search(data, begin, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(data) < end:
                break
            self._answer(data[begin : data.find(b" HTTP/", begin)].split(b"/"))
            begin = end
        self.buffer = data[begin:]

    def _answer(self, target: list[bytes]) -> None:
        self.counts[ARRIVED] += 1
        if len(target) > 2:
            os.write(self.ledger, ENTRY.pack(int(target[2]), time.monotonic_ns()))
        delay = int(target[1])
        if not delay:
            self.transport.write(ANSWER)
            return
        self.counts[WAITING] += 1
        self.loop.call_later(delay / 1000, self._answer_late)

    def _answer_late(self) -> None:
        self.counts[WAITING] -= 1
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


class Counts:
    """The receiver's counters, shared by a file."""

    def __init__(self, folder: Path) -> None:
        self._file = mmap.mmap(os.open(folder / COUNTS, os.O_RDWR), mmap.PAGESIZE)
        self._view = memoryview(self._file).cast("Q")

    @property
    def arrived(self) -> int:
        return int(self._view[ARRIVED])

    @property
    def waiting(self) -> int:
        return int(self._view[WAITING])


def prepare(folder: Path) -> None:
    """Make the files that ``serve`` and ``Counts`` share."""
    (folder / COUNTS).write_bytes(bytes(mmap.PAGESIZE))
    (folder / LEDGER).write_bytes(b"")


async def serve(port: int, addresses: int, folder: Path) -> None:
    shared = mmap.mmap(os.open(folder / COUNTS, os.O_RDWR), mmap.PAGESIZE)
    counts = memoryview(shared).cast("Q")
    ledger = os.open(folder / LEDGER, os.O_WRONLY | os.O_APPEND)
    loop = asyncio.get_running_loop()
    for number in range(addresses):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address(number), port))
        listener.listen(1024)
        await loop.create_server(lambda: Connection(counts, ledger, loop), sock=listener)
    ended = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ended.set)
    (folder / "ready").touch()
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--addresses", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(arguments.port, arguments.addresses, arguments.folder))


if __name__ == "__main__":
    main()
