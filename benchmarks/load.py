"""The producers: posts over kept connections, as fast as they are answered (closed loop) or at a fixed rate (open loop).

``python -m benchmarks.load < job.json > report.json``; ``Job`` and ``Report`` are the two. In an open loop a post's time
counts from when it was due, so a slow server is not asked less gently (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import collections
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.receiver import Counts

NUMBER = "##########"
_WIDTH = len(NUMBER)
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to post. ``bodies`` go out in turn; ``NUMBER`` in one becomes the post's number, as wide, padded with zeros.

    ``rate``: posts a second, else as fast as ``connections`` get their answers. ``window``: stop posting while so many
    notifications are accepted and not yet arrived at the receiver, whose counts are in ``counts``. What is accepted in the
    first ``warm_up`` seconds does not count.
    """

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    status: int
    items: int = 1
    connections: int = 8
    seconds: float
    warm_up: float = 0.0
    rate: float | None = None
    window: int | None = None
    counts: str | None = None
    method: str = "POST"
    host: str = "127.0.0.1"


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of it. Times in nanoseconds of the machine's monotonic clock; ``posts`` are (number, due, answered)."""

    rate: float = 0.0
    arrived_rate: float | None = None
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    posts: list[tuple[int, int, int]] = field(default_factory=list)


class Posting:
    """All connections of one job, in one event loop."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self.job, self.loop = job, loop
        head = f"{job.method} {job.path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in job.headers.items()
        )
        self.templates = [self._template(head, body) for body in job.bodies]
        self.report = Report()
        self.number = 0
        self.idle: collections.deque[Producer] = collections.deque()
        self.due: collections.deque[tuple[int, int]] = collections.deque()
        self.counts = Counts(Path(job.counts)) if job.counts else None
        self.arrived_before = self.counts.arrived if self.counts else 0
        self.stopped = False
        self.warm: tuple[float, int, int] | None = None
        self.ended = asyncio.Event()

    @staticmethod
    def _template(head: str, body: str) -> tuple[bytes, bytes | None]:
        data = body.encode()
        request = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
        before, mark, after = request.partition(NUMBER.encode())
        return (before, after) if mark else (request, None)

    def request(self, number: int) -> bytes:
        before, after = self.templates[number % len(self.templates)]
        return before if after is None else b"%b%0*d%b" % (before, _WIDTH, number, after)

    def next_number(self) -> int:
        self.number += 1
        return self.number - 1

    def may_post(self) -> bool:
        if self.job.window is None or self.counts is None:
            return True
        return self.report.accepted - (self.counts.arrived - self.arrived_before) < self.job.window

    def free(self, producer: Producer) -> None:
        """A connection has its answer: what next?"""
        if self.job.rate is not None:
            if self.due:
                producer.post(*self.due.popleft())
            else:
                self.idle.append(producer)
        elif self.stopped:
            return
        elif self.may_post():
            producer.post(self.next_number(), time.monotonic_ns())
        else:
            self.loop.call_later(0.002, self.free, producer)

    def answered(self, producer: Producer, status: int) -> None:
        if status == self.job.status:
            self.report.accepted += self.job.items
        else:
            self.report.refused[str(status)] = self.report.refused.get(str(status), 0) + 1
        self.report.posts.append((producer.number, producer.due_at, time.monotonic_ns()))
        self.free(producer)

    def _arrived(self) -> int:
        return self.counts.arrived if self.counts else 0

    async def run(self) -> Report:
        job = self.job
        for _ in range(job.connections):
            _, producer = await self.loop.create_connection(lambda: Producer(self), job.host, job.port)
            self.free(producer)
        begun = time.monotonic()
        self.loop.call_later(job.warm_up, self._warmed_up)
        if job.rate is not None:
            await self._keep_rate(begun, job.rate)
        else:
            await asyncio.sleep(max(0.0, begun + job.warm_up + job.seconds - time.monotonic()))
        assert self.warm is not None
        at, accepted, arrived = self.warm
        seconds = time.monotonic() - at
        self.report.rate = (self.report.accepted - accepted) / seconds
        if self.counts:
            self.report.arrived_rate = (self._arrived() - arrived) / seconds
        self.stopped = True
        await self._settle()
        self.report.cpu_seconds = time.process_time()
        return self.report

    def _warmed_up(self) -> None:
        self.warm = (time.monotonic(), self.report.accepted, self._arrived())

    async def _keep_rate(self, begun: float, rate: float) -> None:
        for number in range(int((self.job.warm_up + self.job.seconds) * rate)):
            at = begun + number / rate
            if (wait := at - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            post = (self.next_number(), int(at * 1e9))
            if self.idle:
                self.idle.popleft().post(*post)
            else:
                self.due.append(post)

    async def _settle(self) -> None:
        """Wait for the answers that are under way: they are accepted all the same."""
        give_up = time.monotonic() + 30
        while len(self.report.posts) < self.number and time.monotonic() < give_up:
            await asyncio.sleep(0.01)


class Producer(asyncio.Protocol):
    """One kept connection, with one post under way at a time."""

    def __init__(self, posting: Posting) -> None:
        self.posting = posting
        self.buffer = b""
        self.number, self.due_at = -1, 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.posting.stopped:
            sys.exit(f"the server at port {self.posting.job.port} closed a connection: {exc}")

    def post(self, number: int, due_at: int) -> None:
        self.number, self.due_at = number, due_at
        self.transport.write(self.posting.request(number))

    def data_received(self, data: bytes) -> None:
        self.buffer = data = self.buffer + data if self.buffer else data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(data, 0, head)
        # Without a length the answer is chunked.
        whole = len(data) >= head + 4 + int(length[1]) if length else data.endswith(b"\r\n0\r\n\r\n")
        if whole:
            self.buffer = b""
            self.posting.answered(self, int(data[9:12]))


async def _post(job: Job) -> Report:
    return await Posting(job, asyncio.get_running_loop()).run()


def main() -> None:
    job = Job(**json.load(sys.stdin))
    report = uvloop.run(_post(job))
    json.dump(asdict(report), sys.stdout)


if __name__ == "__main__":
    main()
