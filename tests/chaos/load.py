"""The producers: a steady rate of posts over both web processes, from a process of its own with a ledger of every promise.

``python -m tests.chaos.load --seed N --rate R --key KEY --ledger FILE --webs PORT,PORT PARTNER=PORT …``. Commands:
``count``; ``stop``, which posts nothing new and answers once every notification with a key has been accepted.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.ledger import Ledger, Post
from tests.chaos.operated import Command, operate
from tests.support.client import Client

THREADS = 24
# As a producer would: an answer that takes longer is none, and the post goes to the other web process.
TIMEOUT_SECONDS = 5.0
AGAIN_SECONDS = 0.25
# With keys, three of four; a post without a key that gets no answer cannot be posted again.
KEYED = 0.75


@dataclass(frozen=True, slots=True)
class Wanted:
    """A notification that is to be posted, and its bytes as they must arrive."""

    serial: int
    fields: dict[str, Any]
    path: str
    body: bytes


def wanted(seed: int, serial: int, ports: Mapping[str, int]) -> Wanted:
    """The notification of this number: partner, body, key and the rest by seed; the path has the number."""
    numbers = random.Random(f"{seed} post {serial}")
    partner = numbers.choice(list(ports))
    path = f"/n/{serial}?q=%7e%2F&s={seed}"
    fields: dict[str, Any] = {
        "partner_id": partner,
        "target_url": f"http://127.0.0.1:{ports[partner]}{path}",
        "priority": numbers.randrange(10),
    }
    match numbers.randrange(4):
        case 0:
            body = numbers.randbytes(numbers.randrange(1, 4096))
            fields["body_base64"] = base64.b64encode(body).decode()
        case 1:
            text = f"Nachricht {serial} für {partner}\r\n" * numbers.randrange(1, 50)
            fields["body_text"], body = text, text.encode()
        case _:
            document = {"serial": serial, "text": "é€😀", "numbers": [numbers.randrange(10**6) for _ in range(20)]}
            fields["body"] = document
            body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    if numbers.random() < 0.2:
        fields["metadata"] = {"serial": str(serial)}
    if numbers.random() < KEYED:
        fields["idempotency_key"] = f"{seed}-{serial}"
    return Wanted(serial, fields, path, body)


class Producers:
    """Threads that share one timetable: what could not be posted in time is posted as soon as it can be."""

    def __init__(self, seed: int, rate: float, key: str, webs: list[int], ports: Mapping[str, int], ledger: Path):
        self._seed, self._rate, self._ports = seed, rate, ports
        self._ledger = Ledger(ledger)
        self._lock = threading.Lock()
        self._serials = itertools.count()
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self.accepted = self.given_up = 0
        self._threads = [
            threading.Thread(
                target=self._produce, args=[[Client(port, key, timeout=TIMEOUT_SECONDS) for port in order]]
            )
            for number in range(THREADS)
            for order in [webs[number % len(webs) :] + webs[: number % len(webs)]]
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def count(self) -> dict[str, Any]:
        with self._lock:
            return {"accepted": self.accepted, "given_up": self.given_up}

    def stop(self, seconds: float) -> dict[str, Any]:
        self._stopped.set()
        give_up = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        busy = sum(thread.is_alive() for thread in self._threads)
        with self._lock:
            self._ledger.flush()
        return self.count() | {"unanswered": busy}

    def _produce(self, webs: list[Client]) -> None:
        while True:
            with self._lock:
                serial = next(self._serials)
            due = self._began + serial / self._rate
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                return
            post = self._post(wanted(self._seed, serial, self._ports), webs)
            with self._lock:
                self._ledger.write(post)
                if post.task_id is None:
                    self.given_up += 1
                else:
                    self.accepted += 1

    def _post(self, notification: Wanted, webs: list[Client]) -> Post:
        """Post until it has its 202 (or 200: an earlier post was accepted, and its answer lost)."""
        posted_at = time.time()
        key = notification.fields.get("idempotency_key")
        lost = unavailable = 0
        odd: list[str] = []
        task_id: str | None = None
        for web in itertools.cycle(webs):
            try:
                answer = web.request("POST", "/v1/notify", notification.fields)
            except (OSError, http.client.HTTPException):
                lost += 1
            else:
                if answer.status in (200, 202):
                    task_id = str(answer.body["task_id"])
                    break
                if answer.status == 503:
                    unavailable += 1
                else:
                    odd.append(f"{answer.status} {answer.body}")
            if key is None or odd:
                break
            threading.Event().wait(AGAIN_SECONDS)
        return Post(
            serial=notification.serial,
            partner=notification.fields["partner_id"],
            key=key,
            method="POST",
            path=notification.path,
            sha=hashlib.sha256(notification.body).hexdigest(),
            task_id=task_id,
            posted_at=posted_at,
            ended_at=time.time(),
            lost=lost,
            unavailable=unavailable,
            odd=tuple(odd),
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.load")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--webs", required=True)
    parser.add_argument("partners", nargs="+", metavar="PARTNER=PORT")
    options = parser.parse_args()
    ports = dict(argument.split("=") for argument in options.partners)
    producers = Producers(
        options.seed,
        options.rate,
        options.key,
        [int(port) for port in options.webs.split(",")],
        {name: int(port) for name, port in ports.items()},
        options.ledger,
    )
    producers.start()

    def handle(command: Command) -> dict[str, Any]:
        return producers.stop(command["seconds"]) if command["do"] == "stop" else producers.count()

    operate(handle)
    producers.stop(0)


if __name__ == "__main__":
    main()
