"""Rows for tests: whole, legal ones, with only what a test is about given by the test.

Partners get an id of their own each, because ``notifier.intake`` keeps those that it has read for a second.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import connection

from notifier import api_keys, clock
from notifier.intake import task_id_at
from notifier.models import (
    ApiKey,
    AttemptStatus,
    NotificationAttempt,
    NotificationLabel,
    NotificationTask,
    Partner,
    PartnerState,
    Scope,
    Status,
)
from notifier.models.label import label_digest
from notifier.models.task import FINISHED, WAITING, DeadReason

HOST = "hooks.example.com"
URL = f"https://{HOST}/in"
ALL_SCOPES = tuple(scope.value for scope in Scope)

_numbers = itertools.count(1)


def make_partner(*, state: Mapping[str, Any] | None = None, **fields: Any) -> Partner:
    """An enabled partner that may be reached at ``HOST``; ``state`` names columns of its PartnerState."""
    number = next(_numbers)
    defaults: dict[str, Any] = {"partner_id": f"partner-{number}", "name": f"Partner {number}", "allow_hosts": [HOST]}
    partner = Partner.objects.create(**(defaults | fields))
    if state:
        PartnerState.objects.filter(pk=partner.pk).update(**state)
    return partner


def make_api_key(*, scopes: tuple[str, ...] = ALL_SCOPES, partners: tuple[str, ...] = ()) -> tuple[ApiKey, str]:
    """A key's row and its plain text."""
    return api_keys.create(name=f"producer-{next(_numbers)}", scopes=scopes, partners=partners)


def make_task(partner: Partner | None = None, *, status: Status = Status.PENDING, **fields: Any) -> NotificationTask:
    """A task in the given state, with what that state demands: due now, leased for a minute, or ended now."""
    now = fields.get("created_at") or clock.now()
    defaults: dict[str, Any] = {
        "task_id": task_id_at(now),
        "partner": partner or make_partner(),
        "target_url": URL,
        "http_method": "POST",
        "fingerprint": "0" * 64,
        "rank": 4,
        "max_attempts": 10,
        "status": status,
        "created_at": now,
        "updated_at": now,
        "expires_at": now + timedelta(hours=72),
    }
    if status in WAITING:
        defaults["next_attempt_at"] = now
    if status == Status.RUNNING:
        defaults |= {"lease_token": uuid.uuid4(), "lease_expires_at": now + timedelta(minutes=1)}
    if status in (Status.RUNNING, Status.FAILED, Status.SUCCEEDED):
        defaults["attempt_count"] = 1
    if status in FINISHED:
        defaults["finished_at"] = now
    if status == Status.DEAD:
        defaults["dead_reason"] = DeadReason.EXHAUSTED
    task = NotificationTask(**(defaults | fields))
    task.save(force_insert=True)
    NotificationLabel.objects.bulk_create(
        [NotificationLabel(task_id=task.task_id, digest=label_digest(*entry)) for entry in task.metadata.items()]
    )
    return task


def make_attempt(task: NotificationTask, attempt_no: int = 1, **fields: Any) -> NotificationAttempt:
    """A failed attempt: a 503 after 12.5 ms."""
    defaults: dict[str, Any] = {
        "status": AttemptStatus.FAILED,
        "http_status_code": 503,
        "error_code": "http_503",
        "error_message": "The partner answered 503.",
        "latency_ms": 12.5,
        "created_at": clock.now(),
    }
    return NotificationAttempt.objects.create(task=task, attempt_no=attempt_no, **(defaults | fields))


def is_mysql() -> bool:
    return connection.vendor == "mysql"
