"""Partners' secrets for tests, and a token endpoint that the test is the master of."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from notifier import clock
from notifier.models import Partner
from notifier.secret_store import database
from tests.support.raw_server import Connection, RawServer, Received


def set_secrets(partner: Partner, **values: str) -> None:
    for name, value in values.items():
        database.put(partner, name, value, now=clock.now())


def response(status: int, document: Any = None, *, headers: str = "") -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class TokenServer:
    """A partner whose /token gives tokens token-1, token-2, …, and whose other paths take those that are ``good``."""

    def __init__(self) -> None:
        self.server = RawServer(self._handle)
        self.expires_in: Any = 3600
        self.token_status = 200
        self.good: set[str] = set()
        self.asked: list[Received] = []
        self.got: list[tuple[str, int]] = []
        # Set in the server's loop: the token endpoint answers only then.
        self.answers = asyncio.Event()
        self.answers.set()

    def form(self, number: int = -1) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.asked[number].body.decode()).items()}

    async def _handle(self, connection: Connection) -> None:
        while True:
            request = await connection.request()
            await connection.send(await self._answer(request))

    async def _answer(self, request: Received) -> bytes:
        if b" /token " in request.line:
            self.asked.append(request)
            await self.answers.wait()
            if self.token_status != 200:
                return response(self.token_status, {"error": "invalid_client", "error_description": "echoed-secret"})
            token = f"token-{len(self.asked)}"
            self.good.add(token)
            return response(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in})
        token = (request.header("authorization") or [b""])[0].decode().removeprefix("Bearer ")
        status = 200 if token in self.good else 401
        self.got.append((token, status))
        return response(status)
