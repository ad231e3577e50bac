"""All partners' receivers, each on a port of its own, in one process with one ledger.

``python -m tests.chaos.receiver --seed N --ledger FILE PARTNER=PORT …``. Commands: ``count``; ``silence``, ``refuse`` and
``recover`` with a list of partners; ``reset``, which breaks every connection.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any, cast

from config.embedded.simulator.answers import head
from config.embedded.simulator.reading import Request, RequestReader
from config.limits import allow_many_files
from tests.chaos import answers
from tests.chaos.answers import Reply
from tests.chaos.ledger import Ledger
from tests.chaos.ledger import Request as Seen
from tests.chaos.operated import Command, operate_async
from tests.chaos.partners import TIMEOUT_SECONDS
from tests.chaos.proxy import reset

CLOSED = "closed"
BODY = b"received\n"
_HEADERS = {"503": (("Retry-After", "1"),)}


class Receiver:
    """Answers as the seed plans, and writes down what came and what became of it."""

    def __init__(self, seed: int, ledger: Ledger) -> None:
        self.seed = seed
        self.succeeded: set[str] = set()
        self.requests = 0
        self.open: set[Connection] = set()
        self._ledger = ledger

    def write(self, seen: Seen) -> None:
        self._ledger.write(seen)
        self.requests += 1
        if seen.success:
            self.succeeded.add(seen.id)

    def count(self) -> dict[str, Any]:
        self._ledger.flush()
        held = sum(connection.busy for connection in self.open)
        return {"delivered": len(self.succeeded), "requests": self.requests, "held": held}


class Partner:
    """One partner's port: it can answer, keep silent, or refuse connections."""

    def __init__(self, name: str, port: int, receiver: Receiver) -> None:
        self.name = name
        self.receiver = receiver
        self.silent = False
        self.connections: set[Connection] = set()
        self._port = port
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: Connection(self), "127.0.0.1", self._port, backlog=1024, reuse_address=True
            )

    def refuse(self) -> None:
        """No longer listen, and break what is connected."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    async def recover(self) -> None:
        self.silent = False
        await self.listen()

    def reset(self) -> int:
        connections = list(self.connections)
        for connection in connections:
            connection.reset()
        return len(connections)


class Connection(asyncio.Protocol):
    """Its requests are answered one after the other; each is in the ledger once it has been answered or has broken off."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        self._reader = RequestReader()
        self._request: Request | None = None
        self._arrived = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a request waits for its answer."""
        return self._request is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._partner.connections.add(self)
        self._partner.receiver.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.busy:
            self._ended(CLOSED)
        self._partner.connections.discard(self)
        self._partner.receiver.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._next()

    def reset(self) -> None:
        if self.busy:
            self._ended(answers.RESET)
        reset(self._transport)

    def _next(self) -> None:
        if self.busy:
            return
        request = self._reader.next()
        if request is None:
            return
        self._request, self._arrived = request, time.time()
        if self._partner.silent:
            return
        attempt = int(request.header("webhook-attempt") or 0)
        reply = answers.plan(self._partner.receiver.seed, request.target, attempt, timeout_seconds=TIMEOUT_SECONDS)
        if reply.answer == answers.NEVER:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(reply.delay_seconds, self._answer, reply)

    def _answer(self, reply: Reply) -> None:
        # Written down first: the next request may be here the moment the answer is out.
        self._ended(reply.answer)
        match reply.answer:
            case answers.RESET:
                reset(self._transport)
            case answers.BROKEN_OFF:
                self._transport.write(head(200, len(BODY)) + BODY[:3])
                self._transport.close()
            case status:
                self._transport.write(head(int(status), len(BODY), _HEADERS.get(status, ())) + BODY)
                self._next()

    def _ended(self, answer: str) -> None:
        request, self._request = cast("Request", self._request), None
        self._partner.receiver.write(
            Seen(
                id=request.header("webhook-id"),
                attempt=int(request.header("webhook-attempt") or 0),
                partner=self._partner.name,
                method=request.method,
                path=request.target,
                sha=hashlib.sha256(request.body).hexdigest(),
                arrived=self._arrived,
                ended=time.time(),
                answer=answer,
                success=answer == answers.OK,
            )
        )


async def serve(seed: int, ledger: Ledger, ports: dict[str, int]) -> None:
    receiver = Receiver(seed, ledger)
    partners = {name: Partner(name, port, receiver) for name, port in ports.items()}
    for partner in partners.values():
        await partner.listen()

    async def handle(command: Command) -> dict[str, Any]:
        named = [partners[name] for name in command.get("partners", ())]
        match command["do"]:
            case "silence":
                for partner in named:
                    partner.silent = True
            case "refuse":
                for partner in named:
                    partner.refuse()
            case "recover":
                for partner in named:
                    await partner.recover()
            case "reset":
                return {"connections": sum(partner.reset() for partner in partners.values())}
        return receiver.count()

    await operate_async(handle)
    # What still waits for an answer never gets one.
    for partner in partners.values():
        partner.refuse()
    ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.receiver")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("partners", nargs="+", metavar="PARTNER=PORT")
    options = parser.parse_args()
    allow_many_files()
    ports = dict(argument.split("=") for argument in options.partners)
    asyncio.run(serve(options.seed, Ledger(options.ledger), {name: int(port) for name, port in ports.items()}))


if __name__ == "__main__":
    main()
