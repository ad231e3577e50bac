"""What watching costs a delivery, the worker's counters and its log line: `python -m benchmarks.measuring`. No server."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("NOTIFIER_SECRET_KEY", "only-for-measuring-" + "x" * 50)
django.setup()

from django.conf import settings

from deliveries import measure
from deliveries.lines import DeliveryLines
from deliveries.sending import Sending
from notifier.lifecycle import Claim, Result
from notifier.models import AttemptStatus, Partner
from notifier.policy.exchange import Exchange, Timing
from notifier.policy.retry import Succeeded

BATCH, ROUNDS, PARTNERS = 200, 250, 20


def run() -> None:
    """Print microseconds a delivery, the best of five."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    exchange = Exchange(status=200, timing=Timing(total_ms=12.0))
    batch, results = [], []
    for number in range(BATCH):
        claim = Claim(
            id=number, task_id=str(uuid.uuid4()), partner_id=1, target_url="https://a.example/", http_method="POST",
            headers={}, body=None, body_sealed=False, content_type=None, success_condition=None, traceparent=None, attempt_count=1,
            attempts_before_requeue=0, attempts_excused=0, max_attempts=10, created_at=now, deliver_at=None,
            request_id=None, lease_token=uuid.uuid4(),
        )  # fmt: skip
        batch.append((Sending(claim, Partner(partner_id=f"partner-{number % PARTNERS}")), exchange))
        results.append(
            Result(
                task_key=number, attempt_no=1, lease_token=uuid.uuid4(), decision=Succeeded(), http_status_code=200,
                attempt_status=AttemptStatus.SUCCEEDED, timing=exchange.timing,
            )
        )  # fmt: skip
    sendings = [sending for sending, _ in batch]

    def count() -> None:
        measure.worker.claimed(sendings, partners=PARTNERS, now=now, seconds=0.01)
        measure.worker.recorded(batch, results, seconds=0.01)

    print(f"counters: {_microseconds(count):.2f} us a delivery")
    with open(os.devnull, "w") as nowhere:
        for wanted in ("all", "failed", "none"):
            settings.NOTIFIER_LOG_FORMAT, settings.NOTIFIER_LOG_DELIVERIES = "json", wanted
            lines = DeliveryLines(write=nowhere.write)
            spent = _microseconds(lambda lines=lines: lines.recorded(sendings, results))
            print(f"log lines, {wanted}: {spent:.2f} us a delivery")


def _microseconds(work: object) -> float:
    assert callable(work)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(ROUNDS):
            work()
        best = min(best, time.perf_counter() - begun)
    return best / (ROUNDS * BATCH) * 1e6


if __name__ == "__main__":
    run()
