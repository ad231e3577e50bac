"""A producer: the HTTP API over a real socket, standard library only."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """Keeps one connection, so it is one thread's; ``Client.another()`` for a second thread."""

    def __init__(self, port: int, key: str, *, timeout: float = 30) -> None:
        self._port, self.key, self._timeout = port, key, timeout
        self._connection: http.client.HTTPConnection | None = None

    def another(self) -> Client:
        return self.at(self._port)

    def at(self, port: int) -> Client:
        """The same producer at another web process."""
        return Client(port, self.key, timeout=self._timeout)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
        sent = {"Authorization": f"Bearer {self.key}"} | (headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            self._connection.request(method, path, data, sent)
            response = self._connection.getresponse()
            raw = response.read()
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        got = {name.lower(): value for name, value in response.getheaders()}
        parsed = json.loads(raw) if "json" in got.get("content-type", "") else raw.decode()
        return Answer(response.status, got, parsed)

    def notify(self, **fields: Any) -> str:
        """Post a notification, which must be accepted; returns its task_id."""
        answer = self.request("POST", "/v1/notify", fields)
        assert answer.status == 202, answer
        return str(answer.body["task_id"])

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.request("GET", f"/v1/notify/{task_id}")
        assert answer.status == 200, answer
        return dict(answer.body)

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        answer = self.request("GET", f"/v1/notify/{task_id}/attempts")
        assert answer.status == 200, answer
        return list(answer.body["results"])

    def ids(self, query: str) -> set[str]:
        """The task_ids of every page of a list."""
        found: set[str] = set()
        path: str | None = f"/v1/notify?limit=200&{query}"
        while path:
            answer = self.request("GET", path)
            assert answer.status == 200, answer
            found.update(task["task_id"] for task in answer.body["results"])
            path = answer.body["next"] and answer.body["next"].partition(f":{self._port}")[2]
        return found
