"""Bodies to deliver: real GitHub webhook payloads, and bytes that are no text."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

from tests.support.ledger import REPOSITORY

FILE = REPOSITORY / "var" / "payloads" / "index-7.6.1.json"


def github_events() -> list[tuple[str, Any]]:
    """(event name, payload) of every example in @octokit/webhooks-examples; scripts/fetch_payloads.sh brings them."""
    if not FILE.exists():
        raise FileNotFoundError(f"{FILE} is not there: run scripts/fetch_payloads.sh first (make test does)")
    return [(event["name"], example) for event in json.loads(FILE.read_text()) for example in event["examples"]]


def binary(number: int) -> bytes:
    """Bytes of every value, of another length for each number."""
    return bytes(itertools.islice(itertools.cycle(range(256)), number * 7 % 2000 + 1)) + number.to_bytes(4, "big")


def compact(payload: Any) -> bytes:
    """What the contract sends for a JSON body."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def mixed(count: int) -> list[tuple[dict[str, Any], bytes]]:
    """(fields to post, bytes to arrive): real payloads as JSON and as text, and every third one binary."""
    events = itertools.cycle(github_events())
    bodies: list[tuple[dict[str, Any], bytes]] = []
    for number in range(count):
        name, payload = next(events)
        match number % 3:
            case 0:
                bodies.append(({"body": payload, "headers": {"X-GitHub-Event": name}}, compact(payload)))
            case 1:
                text = json.dumps(payload, indent=1)
                bodies.append(({"body_text": text, "headers": {"Content-Type": "text/plain"}}, text.encode()))
            case _:
                raw = binary(number)
                bodies.append(({"body_base64": base64.b64encode(raw).decode()}, raw))
    return bodies
