"""What the pages are looked at with: rows as an installation has them, and rows that nobody would wish for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from notifier import audit, bulk_requeue, clock, rollup
from notifier.models import AttemptStatus, NotificationTask, Partner, Status
from notifier.models.task import BodyFormat, DeadReason
from notifier.selectors import TaskFilter
from tests.support.factories import make_api_key, make_attempt, make_partner, make_task

HOSTILE = '<script>alert(1)</script><b x-data="alert(1)">"\'&lt; {{ 7*7 }} \U0001f600\U0001f9ff\u202e'
STATES: list[dict[str, Any]] = [
    {"status": Status.PENDING},
    {"status": Status.RUNNING},
    {"status": Status.SUCCEEDED, "last_http_status_code": 200, "last_latency_ms": 41.5},
    {"status": Status.FAILED, "last_error_code": "http_503", "last_error_message": "The partner answered 503 Service Unavailable.", "attempt_count": 4},
    {"status": Status.DEAD, "dead_reason": DeadReason.EXHAUSTED, "last_error_code": "connect_timeout", "last_error_message": "No connection within 3 s.", "attempt_count": 10},
    {"status": Status.DEAD, "dead_reason": DeadReason.REJECTED, "last_error_code": "http_422", "last_error_message": "The partner answered 422.", "attempt_count": 1},
]  # fmt: skip


def fill() -> dict[str, str]:
    """130 tasks of 12 partners, and the pages of one task and one partner with attempts."""
    now = clock.read()
    partners = [make_partner(partner_id=name, name=f"{name.title()} Ltd") for name in _NAMES]
    for number in range(130):
        created = now - timedelta(minutes=number * 7)
        make_task(
            partners[number % len(partners)],
            created_at=created,
            metadata={"order": str(number)},
            **STATES[number % len(STATES)],
        )
    task = make_task(
        partners[0], body=b'{"order": 17, "total": "119.00", "items": [{"sku": "A-1", "count": 2}]}', body_format=BodyFormat.JSON,
        content_type="application/json", headers={"X-Team": "checkout"}, idempotency_key="order-17", metadata={"order": "17"},
        **STATES[3],
    )  # fmt: skip
    _traffic(task, now)
    timings = {"dns_ms": 2.1, "connect_ms": 14.0, "tls_ms": 22.4, "ttfb_ms": 61.2}
    make_attempt(task, 901, status=AttemptStatus.FAILED, error_code="connect_timeout", error_message="No connection within 3 s.",
                 http_status_code=None, latency_ms=3000.0, dns_ms=1.0)  # fmt: skip
    make_attempt(task, 902, latency_ms=70.2, remote_ip="192.0.2.17", response_headers=[["Server", "nginx"], ["Content-Type", "text/html"]],
                 response_body="<html>Service Unavailable</html>", **timings)  # fmt: skip
    make_attempt(
        task,
        903,
        status=AttemptStatus.LEASE_EXPIRED,
        http_status_code=None,
        latency_ms=None,
        error_code="lease_expired",
        error_message="",
    )
    make_attempt(task, 904, latency_ms=480.9, remote_ip="192.0.2.17", **{**timings, "ttfb_ms": 470.0})
    _requeued_in_bulk()
    key, _ = make_api_key()
    _audited(partners[0])
    return _pages(task) | {"apikey": f"notifier/apikey/{key.pk}/change/"}


def _traffic(task: NotificationTask, now: datetime) -> None:
    """An hour of attempts, a seventh of which failed, counted as beat would have it counted."""
    number = 100
    for minute in range(57, 2, -1):
        for each in range(7 + minute % 5):
            number += 1
            failed = each == 3
            make_attempt(
                task, number, created_at=now - timedelta(minutes=minute), latency_ms=20.0 + minute * each * 3,
                status=AttemptStatus.FAILED if failed else AttemptStatus.SUCCEEDED, error_code="http_503" if failed else None,
            )  # fmt: skip
    rollup.roll()


def _requeued_in_bulk() -> None:
    by = audit.Actor(kind="user", name="root", origin="198.51.100.7")
    job = bulk_requeue.begin(TaskFilter(dead_reason="exhausted"), per_second=2, by=by)
    bulk_requeue.advance(job.pk, at_once=7)
    bulk_requeue.advance(bulk_requeue.begin(TaskFilter(partner_id="acme"), per_second=None, by=by).pk)


def hostile() -> dict[str, str]:
    """Markup, characters of four bytes and addresses of 2,000 characters wherever a text can come in."""
    partner = make_partner(
        partner_id="A" * 64, name=HOSTILE * 2, allow_hosts=["a" * 60 + ".example.com"] * 5, headers={"X-A": HOSTILE}
    )
    task = make_task(
        partner, status=Status.FAILED, target_url="https://hooks.example.com/" + "q" * 2000, attempt_count=3,
        idempotency_key=HOSTILE, metadata={HOSTILE[:60]: HOSTILE, "long": "x" * 300}, headers={"X-A": HOSTILE, "X-B": "y" * 2000},
        body=(HOSTILE * 30).encode(), body_format=BodyFormat.TEXT, last_error_code="http_500", last_error_message=HOSTILE * 4,
    )  # fmt: skip
    make_attempt(
        task,
        1,
        error_message=HOSTILE * 4,
        response_headers=[["X-B", HOSTILE], ["X-C", "z" * 1500]],
        response_body=HOSTILE * 20,
    )
    key, _ = make_api_key(partners=("A" * 64,))
    key.name = (HOSTILE * 2)[:150]
    key.save()
    _audited(partner)
    return _pages(task) | {"apikey": f"notifier/apikey/{key.pk}/change/"}


def _pages(task: NotificationTask) -> dict[str, str]:
    return {
        "task": f"notifier/notificationtask/{task.pk}/change/",
        "task-replace": f"notifier/notificationtask/{task.pk}/replace/",
        "partner-change": f"notifier/partner/{task.partner_id}/change/",
        "partner-test": f"notifier/partner/{task.partner_id}/test/",
    }


def _audited(partner: Partner) -> None:
    by = audit.Actor(kind="user", name="root", origin="198.51.100.7")
    audit.record_partner(by, partner, None)


_NAMES = (
    "acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka", "tyrell", "cyberdyne", "soylent", "aperture",
)  # fmt: skip
