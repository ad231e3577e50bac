"""The first start's sample notifications: one of each kind of thing that can happen."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from config.embedded.environment import PARTNER_ID

SHOWCASE = "first-start"
SCHEDULED_SECONDS = 4
CONDITION = "status == 200 && json.ok == true"
BINARY = bytes(range(256))


@dataclass(frozen=True, slots=True)
class Sample:
    title: str
    path: str
    fields: dict[str, Any] = field(default_factory=dict)
    times_sent: int = 1


def samples(now: datetime) -> list[Sample]:
    order = {"order": 4711, "total": "129.90", "currency": "EUR"}
    later = (now + timedelta(seconds=SCHEDULED_SECONDS)).isoformat()
    return [
        Sample("JSON body", "/ok", {"body": order}),
        Sample("GET with a query", "/ok?order=4711&state=paid", {"method": "GET"}),
        Sample("binary body, echoed", "/echo", {"method": "PUT", "body_base64": base64.b64encode(BINARY).decode()}),
        Sample("sealed Authorization", "/ok", {"headers": {"Authorization": "Bearer example"}, "body": order}),
        Sample("one key, sent twice", "/ok", {"idempotency_key": "showcase-order-4711", "body": order}, times_sent=2),
        Sample("highest priority", "/ok", {"priority": 9, "body": order}),
        Sample(f"scheduled {SCHEDULED_SECONDS} s ahead", "/ok", {"deliver_at": later, "body": order}),
        Sample("slow partner", "/slow/800", {"body": order}),
        Sample("redirect, not followed", "/status/302", {"body": order}),
        Sample("condition met", "/json/ok", {"success_condition": CONDITION, "body": order}),
        Sample("condition not met", "/json/error", {"success_condition": CONDITION, "max_attempts": 2}),
        Sample("partner that recovers", "/flaky/2", {"body": order}),
        Sample("refused for good", "/status/422", {"body": order}),
        Sample("error for ever", "/status/500", {"max_attempts": 2, "body": order}),
        Sample("broken connection", "/reset", {"body": order}),
    ]


def request(sample: Sample, simulator: str) -> dict[str, Any]:
    """The body of POST /v1/notify for a sample."""
    metadata = {"showcase": SHOWCASE, "sample": sample.title}
    target = {"partner_id": PARTNER_ID, "target_url": f"{simulator}{sample.path}"}
    return {**target, "metadata": metadata, **sample.fields}
