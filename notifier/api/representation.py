"""Tasks and attempts as the API shows them."""

from __future__ import annotations

import base64
from typing import Any

import simplejson

from notifier import sealing
from notifier.intake import Accepted
from notifier.models import NotificationAttempt, NotificationTask
from notifier.models.task import BodyFormat
from notifier.policy import redaction
from notifier.policy.explain import Explanation


def accepted(accepted: Accepted) -> dict[str, Any]:
    return {
        "task_id": accepted.task.task_id,
        "status": accepted.task.status,
        "partner_id": accepted.partner_id,
        "created_at": accepted.task.created_at,
        "next_attempt_at": accepted.task.next_attempt_at,
        "idempotent_replay": accepted.replay,
    }


def task_document(task: NotificationTask) -> dict[str, Any]:
    """The whole task, sealed headers and a sealed body as ``***``; a body in the field in which it was given."""
    return summary(task) | {
        "headers": sealing.shown_headers(task.headers),
        **_body(task),
        "success_condition": task.success_condition or task.partner.success_condition,
        "deliver_at": task.deliver_at,
        "expires_at": task.expires_at,
    }


def summary(task: NotificationTask) -> dict[str, Any]:
    """A task as a list shows it: everything but what can be large."""
    return {
        "task_id": task.task_id,
        "partner_id": task.partner.partner_id,
        "target_url": task.target_url,
        "method": task.http_method,
        "idempotency_key": task.idempotency_key,
        "priority": task.priority,
        "metadata": task.metadata,
        "status": task.status,
        "dead_reason": task.dead_reason,
        "attempt_count": task.attempt_count,
        "max_attempts": task.max_attempts,
        "next_attempt_at": task.next_attempt_at,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "finished_at": task.finished_at,
        "last_attempt": _last_attempt(task),
    }


def _body(task: NotificationTask) -> dict[str, Any]:
    if task.body is None or task.body_format is None:
        return {}
    if task.body_sealed:
        return {task.body_format: redaction.MASK}
    raw = bytes(task.body)
    match BodyFormat(task.body_format):
        case BodyFormat.JSON:
            return {"body": simplejson.loads(raw, use_decimal=True)}
        case BodyFormat.TEXT:
            return {"body_text": raw.decode()}
        case BodyFormat.BASE64:
            return {"body_base64": base64.b64encode(raw).decode()}


def _last_attempt(task: NotificationTask) -> dict[str, Any] | None:
    if task.last_attempt_no is None:
        return None
    return {
        "attempt_no": task.last_attempt_no,
        "status": task.last_attempt_status,
        "http_status_code": task.last_http_status_code,
        "error_code": task.last_error_code,
        "error_message": task.last_error_message,
        "latency_ms": task.last_latency_ms,
        "created_at": task.last_attempt_at,
    }


def attempt(row: NotificationAttempt) -> dict[str, Any]:
    return {
        "attempt_no": row.attempt_no,
        "status": row.status,
        "http_status_code": row.http_status_code,
        "error_code": row.error_code,
        "error_message": row.error_message,
        "latency_ms": row.latency_ms,
        "dns_ms": row.dns_ms,
        "connect_ms": row.connect_ms,
        "tls_ms": row.tls_ms,
        "ttfb_ms": row.ttfb_ms,
        "total_ms": row.latency_ms,
        "remote_ip": row.remote_ip,
        "response_headers": row.response_headers,
        "response_body": row.response_body,
        "created_at": row.created_at,
    }


def explained(task: NotificationTask, explanation: Explanation) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "status": task.status,
        "reason": explanation.reason.value,
        "message": explanation.message,
        "since": explanation.since,
        "until": explanation.until,
        "next_attempts": [
            {"earliest": attempt.earliest, "latest": attempt.latest} for attempt in explanation.next_attempts
        ],
    }
