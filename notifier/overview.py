"""What the dashboard and the partners' health show: a few thousand rows of counts, and backlogs up to a bound."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Sum

from notifier import rollup
from notifier.models import ErrorRollup, NotificationTask, Partner, PartnerRollup, RollupState, Span, Status
from notifier.models.rollup import COUNTS
from notifier.models.task import WAITING, DeadReason

# The most that is counted of one status.
BACKLOG_BOUND = 20_000
TOP = 8
HEALTH_WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Window:
    """How far back, and in rows of which span."""

    name: str
    label: str
    length: timedelta
    span: Span


WINDOWS = (
    Window("1h", "1 hour", timedelta(hours=1), Span.MINUTE),
    Window("24h", "24 hours", timedelta(hours=24), Span.HOUR),
    Window("7d", "7 days", timedelta(days=7), Span.HOUR),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """A count, and whether it ended at the bound."""

    count: int
    more: bool


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in one minute or hour."""

    start: datetime
    succeeded: int
    failed: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Attempts in a window: in all, over the time, and where they failed. ``counted_until`` None: nothing was counted yet."""

    counted_until: datetime | None
    totals: dict[str, int]
    points: list[Point]
    partners: list[tuple[str, int, int]]
    errors: list[tuple[str, int]]


def traffic(window: Window, *, now: datetime) -> Traffic:
    """Five statements, whose cost depends on partners and minutes, never on attempts."""
    start = _aligned(now - window.length, window.span)
    counted = RollupState.objects.filter(name=rollup.STATE).values_list("done_until", flat=True).first()
    columns = ("start", *COUNTS)
    whole = PartnerRollup.objects.filter(span=window.span, partner_key=PartnerRollup.ALL, start__gte=start)
    found = {row["start"]: row for row in whole.values(*columns)}
    totals = {name: sum(row[name] for row in found.values()) for name in COUNTS}
    step = timedelta(seconds=window.span.value)
    points = [_point(start + number * step, found) for number in range(window.length // step + 1)]
    return Traffic(
        counted_until=counted,
        totals=totals,
        points=points,
        partners=_failing(window.span, start),
        errors=_errors(window.span, start),
    )


def _aligned(at: datetime, span: Span) -> datetime:
    return at - timedelta(seconds=at.timestamp() % span.value)


def _point(start: datetime, found: dict[datetime, dict[str, Any]]) -> Point:
    row = found.get(start)
    if row is None:
        return Point(start, 0, 0, None, None)
    return Point(
        start,
        row["succeeded"],
        row["failed"] + row["unknown"],
        rollup.percentile(row, 0.5),
        rollup.percentile(row, 0.95),
    )


def _failing(span: Span, start: datetime) -> list[tuple[str, int, int]]:
    """Partner, failed attempts, all attempts: those that failed most."""
    rows = PartnerRollup.objects.filter(span=span, start__gte=start).exclude(partner_key=PartnerRollup.ALL).order_by()
    sums = rows.values("partner_key").annotate(bad=Sum("failed") + Sum("unknown"), good=Sum("succeeded"))
    worst = list(sums.filter(bad__gt=0).order_by("-bad")[:TOP])
    names = dict(Partner.objects.filter(pk__in=[row["partner_key"] for row in worst]).values_list("pk", "partner_id"))
    return [
        (names.get(row["partner_key"], "(deleted)"), int(row["bad"]), int(row["bad"] + row["good"])) for row in worst
    ]


def _errors(span: Span, start: datetime) -> list[tuple[str, int]]:
    rows = ErrorRollup.objects.filter(span=span, start__gte=start).order_by().values("error_code")
    return [(row["error_code"], int(row["bad"])) for row in rows.annotate(bad=Sum("failed")).order_by("-bad")[:TOP]]


def backlog() -> tuple[dict[str, Counted], dict[str, Counted]]:
    """How many tasks are not done, by status, and how many are dead, by reason: one statement, each part up to a bound."""
    at_rest, running = "status_at_rest = %s", "lease_expires_at IS NOT NULL AND status_at_rest = %s"
    parts: list[tuple[str, str, str]] = [("task_list_status", at_rest, status) for status in (*WAITING, Status.DEAD)]
    parts += [("task_lease", running, status) for status in WAITING]
    parts += [("task_list_dead", "dead_reason = %s", reason) for reason in DeadReason.values]
    table = connection.ops.quote_name(NotificationTask._meta.db_table)
    hint = "FORCE INDEX ({})" if connection.vendor == "mysql" else "INDEXED BY {}"
    selects = [
        f"SELECT COUNT(*) FROM (SELECT 1 AS found FROM {table} {hint.format(index)} WHERE {condition} LIMIT %s) AS bounded"  # noqa: S608 - no text of a caller's
        for index, condition, _ in parts
    ]
    parameters = [value for _, _, wanted in parts for value in (wanted, BACKLOG_BOUND)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(selects), parameters)
        pending, failed, dead, *rest = (count for (count,) in cursor.fetchall())
    # What runs is among those that rest: an index that says which would be written by each claim.
    started, tried, *reasons = rest
    by_status = {
        Status.PENDING.value: _less(pending, started),
        Status.RUNNING.value: _bounded(started + tried),
        Status.FAILED.value: _less(failed, tried),
        Status.DEAD.value: _bounded(dead),
    }
    return by_status, dict(zip(DeadReason.values, map(_bounded, reasons), strict=True))


def _bounded(count: int) -> Counted:
    return Counted(count, count >= BACKLOG_BOUND)


def _less(count: int, running: int) -> Counted:
    return Counted(max(count - running, 0), count >= BACKLOG_BOUND)


@dataclass(frozen=True, slots=True)
class Health:
    """Of a partner's attempts in the last hour: the share that succeeded, and the 95th percentile of their latency."""

    success_ratio: float | None
    p95: float | None


def health(partner_keys: Collection[int], *, now: datetime) -> dict[int, Health]:
    """Of each of these partners, in one statement."""
    rows = PartnerRollup.objects.filter(
        span=Span.MINUTE, partner_key__in=list(partner_keys), start__gte=now - HEALTH_WINDOW
    )
    sums: Any = rows.order_by().values("partner_key").annotate(**{f"sum_{name}": Sum(name) for name in COUNTS})
    found = {row["partner_key"]: {name: int(row[f"sum_{name}"]) for name in COUNTS} for row in sums}
    return {key: Health(rollup.success_ratio(row), rollup.percentile(row, 0.95)) for key, row in found.items()}
