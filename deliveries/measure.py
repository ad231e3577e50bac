"""What a worker counts about its claims and deliveries, for its metrics port.

Kept in plain numbers and made into metrics when somebody scrapes: a delivery costs one or two dictionary steps here
(benchmarks/measuring.py), about a third of what prometheus_client's own, with a lock each, would cost. Each station writes
its own figures from its one thread; a scrape that reads beside it is at most one delivery behind.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deliveries.sending import Sending
from deliveries.transport.transfer import Settled
from notifier.bounded_labels import BoundedLabels
from notifier.lifecycle import Result
from notifier.policy.exchange import Exchange
from notifier.policy.retry import Dead, Succeeded

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Until the first attempt it may be hours, where a partner is down.
LONG_SECONDS = (*SECONDS, 60.0, 300.0, 1800.0, 7200.0)
ROWS = (1, 2, 5, 10, 25, 50, 100, 200, 400)
ATTEMPTS = (1, 2, 3, 4, 5, 7, 10, 20, 50)
# A partner may answer with any number; those that have no name are one.
_HTTP_CODES = frozenset(f"http_{status.value}" for status in HTTPStatus)

sweep_seconds = prometheus_client.Histogram("notifier_sweep_seconds", "Time that a sweep took", buckets=SECONDS)
leases_expired = prometheus_client.Counter(
    "notifier_leases_expired", "Leases that ran out: their workers were lost, and what they sent may be sent again"
)
tasks_expired = prometheus_client.Counter(
    "notifier_tasks_expired", "Notifications that were not delivered in their time"
)


class Histogram:
    """For one thread. ``add`` is a bisection and two additions."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        self._name, self._documentation, self._bounds = name, documentation, tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self) -> HistogramMetricFamily:
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), list(self._counts), strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
        return HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class WorkerMetrics(Collector):
    """One process's claims and deliveries."""

    def __init__(self) -> None:
        self._labels = BoundedLabels()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._unknown: Counter[str] = Counter({"lease_expired": 0})
        self._latency = Histogram("notifier_delivery_latency_seconds", "Time of an attempt on the wire", SECONDS)
        self._tries = Histogram("notifier_task_attempts", "Attempts of a notification when it ended", ATTEMPTS)
        self._first = Histogram(
            "notifier_first_attempt_seconds",
            "Time from accept, or from deliver_at where that is later, to the claim of the first attempt",
            LONG_SECONDS,
        )
        self._claim_rows = Histogram("notifier_claim_rows", "Notifications claimed in one turn", ROWS)
        self._claim_partners = Histogram("notifier_claim_partners", "Partners that one turn asked about", ROWS)
        self._claim_seconds = Histogram("notifier_claim_seconds", "Time of a turn, from asking to committed", SECONDS)
        self._record_rows = Histogram("notifier_record_rows", "Results written in one transaction", ROWS)
        self._record_seconds = Histogram("notifier_record_seconds", "Time from judging to committed", SECONDS)
        self._slots: tuple[int, Callable[[], int]] = (0, lambda: 0)
        # Of two claimers; the rest is the recorder's alone.
        self._claiming = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing: the names are the scrape's business."""
        return []

    def watch(self, slots: int, free: Callable[[], int]) -> None:
        """Of so many slots of the engine, ``free`` says at each scrape how many are."""
        self._slots = (slots, free)

    def claimed(self, sendings: Sequence[Sending], *, partners: int, now: datetime, seconds: float) -> None:
        """One turn of a claimer, committed at the database's ``now``."""
        with self._claiming:
            self._claim_partners.add(partners)
            self._claim_rows.add(len(sendings))
            self._claim_seconds.add(seconds)
            for sending in sendings:
                claim = sending.claim
                if claim.attempt_count == 1:
                    self._first.add(max(0.0, (now - (claim.deliver_at or claim.created_at)).total_seconds()))

    def swept(self, *, leases: int, tasks: int, seconds: float) -> None:
        """One sweep: so many leases ran out, and so many notifications were past their time."""
        sweep_seconds.observe(seconds)
        leases_expired.inc(leases)
        tasks_expired.inc(tasks)
        self._unknown["lease_expired"] += leases

    def recorded(self, batch: Iterable[tuple[Sending, Settled]], results: Sequence[Result], *, seconds: float) -> None:
        """One transaction of the recorder, committed."""
        self._record_rows.add(len(results))
        self._record_seconds.add(seconds)
        for (sending, settled), result in zip(batch, results, strict=True):
            partner, code = self._labels.label(sending.partner.partner_id), result.error_code
            if code is None:
                self._attempts[partner, ""] += 1
            else:
                if code.startswith("http_") and code not in _HTTP_CODES:
                    code = "http_other"
                self._attempts[partner, code] += 1
                if result.http_status_code is None and isinstance(settled, Exchange) and settled.maybe_sent:
                    self._unknown[code] += 1
            if result.timing is not None and result.timing.total_ms:
                self._latency.add(result.timing.total_ms / 1000)
            decision = result.decision
            if isinstance(decision, Succeeded):
                self._ended[partner, "succeeded", ""] += 1
                self._tries.add(result.attempt_no - sending.claim.attempts_before_requeue)
            elif isinstance(decision, Dead):
                self._ended[partner, "dead", decision.reason.value] += 1
                self._tries.add(result.attempt_no - sending.claim.attempts_before_requeue)

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "notifier_attempts", "Attempts that were recorded", labels=["partner", "status", "error_code"]
        )
        for (partner, code), count in list(self._attempts.items()):
            attempts.add_metric([partner, "failed" if code else "succeeded", code], count)
        yield attempts
        ended = CounterMetricFamily(
            "notifier_tasks_ended", "Notifications that an attempt ended", labels=["partner", "status", "dead_reason"]
        )
        for labels, count in list(self._ended.items()):
            ended.add_metric(labels, count)
        yield ended
        unknown = CounterMetricFamily(
            "notifier_outcome_unknown",
            "Attempts without an answer that the partner may have received: the next may be a duplicate",
            labels=["error_code"],
        )
        for code, count in list(self._unknown.items()):
            unknown.add_metric([code], count)
        yield unknown
        slots, free = self._slots
        yield GaugeMetricFamily("notifier_engine_slots", "Requests that this worker may have in flight", value=slots)
        yield GaugeMetricFamily("notifier_engine_slots_free", "How many of these are free", value=free())
        for histogram in (
            self._latency, self._tries, self._first, self._claim_rows, self._claim_partners, self._claim_seconds,
            self._record_rows, self._record_seconds,
        ):  # fmt: skip
            yield histogram.family()


worker = WorkerMetrics()
prometheus_client.REGISTRY.register(worker)
