"""Counts attempts by minute and hour, behind the deliveries' back: nothing is written where they are fast.

A minute is counted once, a quarter of a minute after it is over: a recorder commits within seconds of what it records. Its attempts
are found by their key, which grows with the time, so that the table needs no index for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, IntegerField, Max, Sum, Value, When
from django.db.models.functions import TruncMinute

from notifier import clock
from notifier.models import AttemptStatus, ErrorRollup, NotificationAttempt, PartnerRollup, RollupState, Span
from notifier.models.rollup import COUNTS, LATENCY_BOUNDS_MS, LATENCY_COLUMNS

STATE = "attempts"
SETTLED = timedelta(seconds=15)
# Keys are given out before the commit, and the time is taken before the key: within this much they agree on the order.
MARGIN = timedelta(minutes=2)
# Of a backlog, as after an update: so many minutes in one transaction, so many of those in one call.
CHUNK = timedelta(minutes=5)
MOST_CHUNKS = 12
REACH = timedelta(days=8)
KEPT = {Span.MINUTE: timedelta(hours=3), Span.HOUR: timedelta(days=32)}
DELETED_AT_ONCE = 5_000

Row = dict[str, int]


def roll() -> int:
    """Count the minutes that are over and have not been counted; how many that were.

    Each chunk's rows and how far it came are one transaction: a crash leaves the chunk to the next call, never counted twice. Two
    calls at once: the second waits, and finds it done.
    """
    total = 0
    for _ in range(MOST_CHUNKS):
        minutes = _roll_chunk(clock.read())
        total += minutes
        if minutes < CHUNK // timedelta(minutes=1):
            break
    if total:
        _forget(clock.now())
    return total


@transaction.atomic
def _roll_chunk(now: datetime) -> int:
    limit = _floor(now - SETTLED, Span.MINUTE)
    RollupState.objects.get_or_create(name=STATE, defaults={"done_until": _floor(now - REACH, Span.MINUTE)})
    state = RollupState.objects.select_for_update().get(name=STATE)
    if limit <= state.done_until:
        return 0
    start = _next_attempt(max(state.done_until, _floor(now - REACH, Span.MINUTE))) or limit
    end = min(start + CHUNK, limit)
    if start < end:
        _count(start, end)
    state.done_until = end
    state.save(update_fields=["done_until"])
    return max((end - start) // timedelta(minutes=1), 0)


def _next_attempt(since: datetime) -> datetime | None:
    """The minute of the first attempt since then, so that an idle night is one step; None where there is none."""
    later = NotificationAttempt.objects.filter(pk__gte=_first_key(since - MARGIN), created_at__gte=since)
    first = later.order_by("pk").values_list("created_at", flat=True).first()
    return None if first is None else max(_floor(first - MARGIN, Span.MINUTE), since)


def _first_key(at: datetime) -> int:
    """The key of the first attempt that ended then or later, by bisection: some 25 probes of the primary key."""
    attempts = NotificationAttempt.objects.order_by("pk").values_list("pk", "created_at")
    low, high = 0, (NotificationAttempt.objects.aggregate(last=Max("pk"))["last"] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = attempts.filter(pk__gte=middle, pk__lt=high).first()
        if found is None or found[1] >= at:
            high = middle
        else:
            low = found[0] + 1
    return low


def _count(start: datetime, end: datetime) -> None:
    """Write the minutes from start to end anew, and the hours that they are in."""
    partners: dict[tuple[datetime, int], Row] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    errors: dict[tuple[datetime, str], int] = defaultdict(int)
    for minute, partner, status, code, bucket, count in _grouped(start, end):
        for row in (partners[minute, partner], partners[minute, PartnerRollup.ALL]):
            row[_column(status)] += count
            if bucket is not None:
                row[LATENCY_COLUMNS[bucket]] += count
        if code is not None and status != AttemptStatus.SUCCEEDED:
            errors[minute, code] += count
    for model in (PartnerRollup, ErrorRollup):
        model.objects.filter(span=Span.MINUTE, start__gte=start, start__lt=end).delete()
    PartnerRollup.objects.bulk_create(
        [PartnerRollup(span=Span.MINUTE, start=at, partner_key=key, **row) for (at, key), row in partners.items()],
        batch_size=500,
    )
    ErrorRollup.objects.bulk_create(
        [ErrorRollup(span=Span.MINUTE, start=at, error_code=code, failed=n) for (at, code), n in errors.items()],
        batch_size=500,
    )
    _add_to_hours(partners, errors)


def _add_to_hours(partners: dict[tuple[datetime, int], Row], errors: dict[tuple[datetime, str], int]) -> None:
    """Added, not counted anew: each minute is counted once, and an hour's minutes may be gone by then."""
    hours: dict[tuple[datetime, int], Row] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for (at, key), row in partners.items():
        for name, count in row.items():
            hours[_floor(at, Span.HOUR), key][name] += count
    codes: dict[tuple[datetime, str], int] = defaultdict(int)
    for (at, code), count in errors.items():
        codes[_floor(at, Span.HOUR), code] += count
    for start in {at for at, _ in hours}:
        stored = {row.partner_key: row for row in PartnerRollup.objects.filter(span=Span.HOUR, start=start)}
        _merge(
            PartnerRollup, stored, {key: row for (at, key), row in hours.items() if at == start}, "partner_key", start
        )
        known = {row.error_code: row for row in ErrorRollup.objects.filter(span=Span.HOUR, start=start)}
        fresh = {code: {"failed": count} for (at, code), count in codes.items() if at == start}
        _merge(ErrorRollup, known, fresh, "error_code", start)


def _merge(model: Any, stored: dict[Any, Any], fresh: dict[Any, Row], key_name: str, start: datetime) -> None:
    for key, row in fresh.items():
        for name, count in row.items():
            if key in stored:
                setattr(stored[key], name, getattr(stored[key], name) + count)
    changed = [stored[key] for key in fresh if key in stored]
    if changed:
        model.objects.bulk_update(changed, list(next(iter(fresh.values()))), batch_size=200)
    model.objects.bulk_create(
        [
            model(span=Span.HOUR, start=start, **{key_name: key}, **row)
            for key, row in fresh.items()
            if key not in stored
        ],
        batch_size=500,
    )


def _grouped(start: datetime, end: datetime) -> Iterable[tuple[datetime, int, str, str | None, int | None, int]]:
    """Attempts that ended in [start, end): by minute, partner, status, error and latency bucket."""
    attempts = NotificationAttempt.objects.order_by().filter(
        pk__gte=_first_key(start - MARGIN), created_at__gte=start, created_at__lt=end
    )
    after = NotificationAttempt.objects.filter(pk=(last := _first_key(end + MARGIN)))
    if after.exists():
        attempts = attempts.filter(pk__lt=last)
    bucket = Case(
        When(latency_ms__isnull=True, then=Value(None)),
        *(When(latency_ms__lt=bound, then=Value(number)) for number, bound in enumerate(LATENCY_BOUNDS_MS)),
        default=Value(len(LATENCY_BOUNDS_MS)),
        output_field=IntegerField(),
    )
    grouped = attempts.annotate(minute=TruncMinute("created_at", tzinfo=UTC), bucket=bucket)
    return grouped.values_list("minute", "task__partner_id", "status", "error_code", "bucket").annotate(Count("pk"))


def _column(status: str) -> str:
    return {AttemptStatus.SUCCEEDED: "succeeded", AttemptStatus.FAILED: "failed"}.get(AttemptStatus(status), "unknown")


def _floor(at: datetime, span: Span) -> datetime:
    return at - timedelta(seconds=at.timestamp() % span.value)


def _forget(now: datetime) -> None:
    """Bounded retention: what no page shows any more, some rows at a time."""
    for span, kept in KEPT.items():
        for model in (PartnerRollup, ErrorRollup):
            old = model.objects.filter(span=span, start__lt=now - kept).values_list("pk", flat=True)
            keys = list(old[:DELETED_AT_ONCE])
            if keys:
                model.objects.filter(pk__in=keys).delete()


def summed(**narrowed: Any) -> dict[str, int]:
    """The counts of all partners' rows that match, added up."""
    found = PartnerRollup.objects.order_by().filter(**narrowed).aggregate(**{name: Sum(name) for name in COUNTS})
    return {name: int(found[name] or 0) for name in COUNTS}


def percentile(counts: Row, share: float) -> float | None:
    """The latency in ms that this share of attempts stayed under: interpolated in its bucket; None without any."""
    total = sum(counts[name] for name in LATENCY_COLUMNS)
    if not total:
        return None
    below, lower = 0, 0.0
    for name, upper in zip(LATENCY_COLUMNS, (*LATENCY_BOUNDS_MS, LATENCY_BOUNDS_MS[-1]), strict=True):
        if counts[name] and below + counts[name] >= share * total:
            return lower + (upper - lower) * (share * total - below) / counts[name]
        below += counts[name]
        lower = float(upper)
    return lower


def success_ratio(counts: Row) -> float | None:
    """Of the attempts, how many succeeded; None without any."""
    total = counts["succeeded"] + counts["failed"] + counts["unknown"]
    return counts["succeeded"] / total if total else None
