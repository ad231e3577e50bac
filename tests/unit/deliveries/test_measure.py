"""What a worker counts, as a scrape sees it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deliveries.measure import Histogram, WorkerMetrics
from deliveries.sending import Sending
from notifier.lifecycle import Result
from notifier.policy.exchange import Exchange, FailureKind, Timing
from notifier.policy.retry import Dead, DeadReason, RetryAt, Succeeded
from tests.unit.deliveries.records import NOW, result, sending


def _record(metrics: WorkerMetrics, sent: Sending, exchange: Exchange, came_to: Result) -> None:
    metrics.recorded([(sent, exchange)], [came_to], seconds=0.002)


def _scrape(metrics: WorkerMetrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    lines = generate_latest(registry).decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def test_attempts_and_ends_are_counted_by_partner_and_outcome() -> None:
    metrics = WorkerMetrics()
    ok = Exchange(status=200, timing=Timing(total_ms=20))
    refused = Exchange(status=422, timing=Timing(total_ms=30))
    for _ in range(3):
        _record(metrics, sending(), ok, result(ok, Succeeded()))
    _record(
        metrics, sending(), refused, result(refused, Dead(DeadReason.REJECTED), error_code="http_422", attempt_no=2)
    )

    figures = _scrape(metrics)

    assert figures['notifier_attempts_total{error_code="",partner="acme",status="succeeded"}'] == 3
    assert figures['notifier_attempts_total{error_code="http_422",partner="acme",status="failed"}'] == 1
    assert figures['notifier_tasks_ended_total{dead_reason="",partner="acme",status="succeeded"}'] == 3
    assert figures['notifier_tasks_ended_total{dead_reason="rejected",partner="acme",status="dead"}'] == 1
    assert (figures["notifier_task_attempts_sum"], figures["notifier_task_attempts_count"]) == (5, 4)
    assert figures["notifier_delivery_latency_seconds_sum"] == pytest.approx(0.09)
    assert figures['notifier_delivery_latency_seconds_bucket{le="0.025"}'] == 3
    assert figures["notifier_record_rows_count"] == 4


@pytest.mark.parametrize(
    ("maybe_sent", "unknown"), [pytest.param(True, 1, id="no answer"), pytest.param(False, 0, id="never sent")]
)
def test_an_attempt_without_an_answer_risks_a_duplicate_where_it_may_have_been_received(
    maybe_sent: bool, unknown: int
) -> None:
    metrics = WorkerMetrics()
    lost = Exchange(failure=FailureKind.TIMEOUT, maybe_sent=maybe_sent)

    _record(metrics, sending(), lost, result(lost, RetryAt(NOW), error_code="timeout"))

    assert _scrape(metrics).get('notifier_outcome_unknown_total{error_code="timeout"}', 0) == unknown


def test_label_values_are_bounded(settings: Any) -> None:
    settings.NOTIFIER_METRICS_PARTNERS = 2
    metrics = WorkerMetrics()
    for number in range(10):
        answer = Exchange(status=700 + number)
        failed = result(answer, RetryAt(NOW), error_code=f"http_{700 + number}")
        _record(metrics, sending(f"partner-{number}"), answer, failed)

    attempts = {name: value for name, value in _scrape(metrics).items() if name.startswith("notifier_attempts_total")}

    assert attempts == {
        'notifier_attempts_total{error_code="http_other",partner="partner-0",status="failed"}': 1,
        'notifier_attempts_total{error_code="http_other",partner="partner-1",status="failed"}': 1,
        'notifier_attempts_total{error_code="http_other",partner="other",status="failed"}': 8,
    }


def test_the_time_to_the_first_attempt_counts_from_when_it_was_to_go() -> None:
    metrics = WorkerMetrics()
    hour = timedelta(hours=1)
    turn = [sending(), sending(deliver_at=NOW + hour), sending(attempt_count=2)]

    metrics.claimed(turn, partners=3, now=NOW + hour + timedelta(seconds=2), seconds=0.004)

    figures = _scrape(metrics)
    assert figures["notifier_first_attempt_seconds_sum"] == 3602 + 2
    assert figures["notifier_first_attempt_seconds_count"] == 2
    assert (figures["notifier_claim_rows_sum"], figures["notifier_claim_partners_sum"]) == (3, 3)


def test_a_value_on_a_bound_is_below_it() -> None:
    histogram = Histogram("h", "for the test", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)

    counts = {sample.labels["le"]: sample.value for sample in histogram.family().samples if "le" in sample.labels}

    assert counts == {"1.0": 2, "2.0": 3, "+Inf": 4}
