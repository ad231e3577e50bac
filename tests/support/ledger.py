"""What the partner saw: the simulator's own log, outside the system under test."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import free_port, listens
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    answered: int | None

    @property
    def webhook_id(self) -> str:
        return self.headers.get("webhook-id", "")


class PartnerSimulator:
    """The partner simulator as a process of its own, with a ledger of every request."""

    def __init__(self, folder: Path, *, ledger: bool = True) -> None:
        self.port = free_port()
        self._ledger = folder / f"ledger-{self.port}.jsonl"
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "config.embedded.simulator",
                "--port", str(self.port), *(("--log", str(self._ledger)) if ledger else ()),
            ],
            cwd=REPOSITORY,
        )  # fmt: skip
        wait_until(lambda: listens(self.port), seconds=20, what="the partner simulator to listen")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def requests(self) -> list[Seen]:
        """Every request so far, in the order of arrival."""
        if not self._ledger.exists():
            return []
        seen = []
        for line in self._ledger.read_text().splitlines():
            row = json.loads(line)
            headers = {name.lower(): value for name, value in row["headers"]}
            seen.append(
                Seen(row["at"], row["method"], row["path"], headers, base64.b64decode(row["body"]), row["answered"])
            )
        return seen

    def counts(self) -> Counter[str]:
        """How many requests came with each Webhook-Id."""
        return Counter(seen.webhook_id for seen in self.requests())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
