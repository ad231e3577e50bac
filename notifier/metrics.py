"""/metrics: what this process counted, and what the database says about deliveries.

The figures from the database are about the last minute, read from at most the newest SAMPLE rows of an index, so a scrape
costs the same whatever the tables hold.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import prometheus_client
from django.db import Error
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from notifier import clock
from notifier.availability import database, is_connection_lost
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status, SweepState
from notifier.models.task import Outcome

WINDOW = timedelta(seconds=60)
SAMPLE = 10_000


class DeliveryCollector(Collector):
    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing, so that registering this does not ask the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        # The web process's own metrics are worth having while the database is away.
        try:
            # All of them before the first is given away: a family that came twice would spoil the scrape.
            gauges = [] if database.away() else list(_gauges())
        except Error as error:
            if is_connection_lost(error):
                database.lost()
            gauges = []
        yield GaugeMetricFamily("notifier_database_up", "1 while the database answers", value=bool(gauges))
        yield from gauges


def _gauges() -> Iterator[GaugeMetricFamily]:
    since = clock.now() - WINDOW
    first_id = uuid.UUID(int=int(since.timestamp() * 1000) << 80)
    accepted = NotificationTask.objects.filter(task_id__gte=first_id).order_by("task_id")[:SAMPLE].count()
    yield GaugeMetricFamily(
        "notifier_accepted_per_second", "Notifications accepted a second, over the last minute",
        value=accepted / WINDOW.total_seconds(),
    )  # fmt: skip
    state = SweepState.objects.filter(name="sweep").first()
    yield GaugeMetricFamily(
        "notifier_beat_silence_seconds", "Time since beat last asked for a sweep; infinite where it never has",
        value=_age(state.beat_at if state else None),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "notifier_sweep_age_seconds", "Time since the last sweep, whoever did it; infinite where there was none",
        value=_age(state.swept_at if state else None),
    )  # fmt: skip
    newest = NotificationAttempt.objects.order_by("-pk").values_list("status", "latency_ms", "created_at")[:SAMPLE]
    attempts = [(status, latency) for status, latency, created_at in newest if created_at >= since]
    latencies = [latency for _, latency in attempts if latency is not None]
    good = sum(status == AttemptStatus.SUCCEEDED for status, _ in attempts)
    yield GaugeMetricFamily(
        "notifier_delivery_success_ratio", "Share of attempts that succeeded, over the last minute; NaN without any",
        value=_ratio(good, len(attempts)),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "notifier_delivery_latency_seconds_mean", "Mean time of an attempt, over the last minute; NaN without any",
        value=_ratio(sum(latencies) / 1000, len(latencies)),
    )  # fmt: skip
    finished = [ended for outcome in Outcome for ended in _ended(outcome, since)]
    yield GaugeMetricFamily(
        "notifier_attempts_per_task_mean", "Mean attempts of the tasks that ended in the last minute; NaN without any",
        value=_ratio(sum(count for _, count in finished), len(finished)),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "notifier_dead_ratio", "Share of dead among the tasks that ended in the last minute; NaN without any",
        value=_ratio(sum(status == Status.DEAD for status, _ in finished), len(finished)),
    )  # fmt: skip


def _ended(outcome: Outcome, since: datetime) -> QuerySet[NotificationTask, tuple[str, int]]:
    """Status and attempts of those that ended so: one range of the index for each outcome."""
    ended = NotificationTask.objects.filter(outcome=outcome, finished_at__gte=since).order_by("finished_at")
    return ended.values_list("status", "attempt_count")[:SAMPLE]


def _age(moment: datetime | None) -> float:
    return float("inf") if moment is None else max(0.0, (clock.now() - moment).total_seconds())


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")


prometheus_client.REGISTRY.register(DeliveryCollector())


def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(prometheus_client.generate_latest(), content_type=prometheus_client.CONTENT_TYPE_LATEST)
