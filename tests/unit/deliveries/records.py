"""A claim and its result, whole, with only what a test is about given by the test. No database."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from deliveries.sending import Sending
from notifier.lifecycle import Claim, Result
from notifier.models import AttemptStatus, Partner
from notifier.policy.exchange import Exchange
from notifier.policy.retry import Decision

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sending(partner_id: str = "acme", **claim: Any) -> Sending:
    """Attempt 1 of a notification that was accepted at ``NOW``."""
    defaults: dict[str, Any] = {
        "id": 1, "task_id": str(uuid.uuid4()), "partner_id": 1, "target_url": "https://acme.example/in", "http_method": "POST",
        "headers": {}, "body": None, "body_sealed": False, "content_type": None, "success_condition": None, "traceparent": None,
        "attempt_count": 1, "attempts_before_requeue": 0, "attempts_excused": 0, "max_attempts": 10, "created_at": NOW,
        "deliver_at": None, "request_id": None, "lease_token": uuid.uuid4(),
    }  # fmt: skip
    return Sending(Claim(**(defaults | claim)), Partner(partner_id=partner_id))


def result(exchange: Exchange, decision: Decision, *, error_code: str | None = None, **fields: Any) -> Result:
    defaults: dict[str, Any] = {
        "task_key": 1, "attempt_no": 1, "lease_token": uuid.uuid4(), "http_status_code": exchange.status,
        "attempt_status": AttemptStatus.FAILED if error_code else AttemptStatus.SUCCEEDED, "timing": exchange.timing,
    }  # fmt: skip
    return Result(decision=decision, error_code=error_code, **(defaults | fields))
