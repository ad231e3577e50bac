"""/metrics: what this process counted, and what the database says about deliveries.

The figures from the database are about the last minute, read from at most the newest SAMPLE rows of an index, so a scrape
costs the same whatever the tables hold.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import prometheus_client
from django.conf import settings
from django.db import Error
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from notifier import clock, standing
from notifier.availability import database, is_connection_lost
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status, SweepState
from notifier.models.task import Outcome

WINDOW = timedelta(seconds=60)
SAMPLE = 10_000


class DeliveryCollector(Collector):
    """Asks the database at most once in ``NOTIFIER_METRICS_SECONDS``, however many scrape; the others get the last answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gauges: list[Metric] = []
        self._asked_at = float("-inf")

    def describe(self) -> list[Metric]:
        """Nothing, so that registering this does not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        gauges = self._current()
        yield GaugeMetricFamily("notifier_database_up", "1 while the database answers", value=bool(gauges))
        yield from gauges

    def _current(self) -> list[Metric]:
        """Empty while the database is away: the web process's own metrics are worth having then, too."""
        if database.away():
            return []
        with self._lock:
            if time.monotonic() - self._asked_at < settings.NOTIFIER_METRICS_SECONDS:
                return self._gauges
            try:
                # All of them before the first is given away: a family that came twice would spoil the scrape.
                self._gauges = [*_gauges(), *standing.gauges()]
            except Error as error:
                if is_connection_lost(error):
                    database.lost()
                self._gauges = []
            self._asked_at = time.monotonic() if self._gauges else float("-inf")
            return self._gauges


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


# Apart from the process's own, which a worker that has loaded this shows on its metrics port.
_deliveries = CollectorRegistry()
_deliveries.register(DeliveryCollector())


def _processes() -> CollectorRegistry:
    """What this process counted, or all of web's where there are several (prometheus_client's multiprocess mode)."""
    if not settings.PROMETHEUS_MULTIPROC_DIR:
        return prometheus_client.REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def metrics(request: HttpRequest) -> HttpResponse:
    text = generate_latest(_processes()) + generate_latest(_deliveries)
    return HttpResponse(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)
