"""The notifier's HTTP API as the run itself uses it: one kept connection, JSON both ways."""

from __future__ import annotations

import http.client
import json
from types import TracebackType
from typing import Any, Self

from config.embedded.ports import HOST


class Client:
    def __init__(self, port: int, api_key: str, *, timeout_seconds: float = 10.0) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """The status and the answer's JSON. Raises ``OSError`` or ``HTTPException`` where there is no answer."""
        body = None if document is None else json.dumps(document)
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except BaseException:
            self._connection.close()  # half a conversation; the next call begins a new one
            raise
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, None


def answers(port: int, path: str = "/healthz") -> bool:
    """Whether the web process serves this path."""
    try:
        with Client(port, "", timeout_seconds=2.0) as client:
            return client.call("GET", path)[0] == 200
    except (OSError, http.client.HTTPException):
        return False
