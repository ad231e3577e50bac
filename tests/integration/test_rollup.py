"""Attempts counted by minute and hour: each once, whatever happens between; and percentiles from their buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifier import clock, rollup
from notifier.models import AttemptStatus, ErrorRollup, NotificationAttempt, PartnerRollup, RollupState, Span
from notifier.models.rollup import COUNTS
from tests.support.factories import make_attempt, make_partner, make_task

pytestmark = pytest.mark.django_db


def _minute(ago: int) -> datetime:
    return clock.read().replace(second=0, microsecond=0) - timedelta(minutes=ago)


def _rows(span: Span) -> list[tuple[datetime, int, int, int, int]]:
    columns = ("start", "partner_key", "succeeded", "failed", "unknown")
    return list(PartnerRollup.objects.filter(span=span).order_by("start", "partner_key").values_list(*columns))


def test_attempts_are_counted_by_minute_hour_partner_status_and_error() -> None:
    acme, globex = make_task(make_partner()), make_task(make_partner())
    early, late = _minute(100), _minute(98)
    make_attempt(acme, 1, created_at=early, status=AttemptStatus.SUCCEEDED, error_code=None, latency_ms=4.0)
    make_attempt(acme, 2, created_at=early + timedelta(seconds=59), latency_ms=12.0)
    make_attempt(
        globex, 1, created_at=late, status=AttemptStatus.LEASE_EXPIRED, error_code="lease_expired", latency_ms=None
    )

    rollup.roll()

    assert _rows(Span.MINUTE) == [
        (early, 0, 1, 1, 0), (early, acme.partner_id, 1, 1, 0),
        (late, 0, 0, 0, 1), (late, globex.partner_id, 0, 0, 1),
    ]  # fmt: skip
    hours = rollup.summed(span=Span.HOUR, partner_key=PartnerRollup.ALL)
    assert (hours["succeeded"], hours["failed"], hours["unknown"], hours["latency_0"], hours["latency_2"]) == (
        1,
        1,
        1,
        1,
        1,
    )
    errors = ErrorRollup.objects.filter(span=Span.MINUTE).order_by("start").values_list("error_code", "failed")
    assert list(errors) == [("http_503", 1), ("lease_expired", 1)]


def test_counting_again_counts_nothing_twice_and_later_minutes_add_to_their_hour() -> None:
    task = make_task()
    hour = _minute(0).replace(minute=0) - timedelta(hours=2)
    make_attempt(task, 1, created_at=hour)
    rollup.roll()
    counted = rollup.summed(span=Span.HOUR, partner_key=PartnerRollup.ALL)
    rollup.roll()
    assert rollup.summed(span=Span.HOUR, partner_key=PartnerRollup.ALL) == counted

    RollupState.objects.update(done_until=hour + timedelta(minutes=10))
    make_attempt(task, 2, created_at=hour + timedelta(minutes=30))
    rollup.roll()

    assert rollup.summed(span=Span.HOUR, partner_key=task.partner_id, start=hour)["failed"] == 2
    assert rollup.summed(span=Span.MINUTE, partner_key=PartnerRollup.ALL)["failed"] == 2


def test_the_minute_that_is_not_over_is_left_for_later() -> None:
    task = make_task()
    make_attempt(task, 1, created_at=clock.read())

    rollup.roll()

    assert _rows(Span.MINUTE) == []
    RollupState.objects.update(done_until=_minute(10))
    NotificationAttempt.objects.update(created_at=_minute(3))
    rollup.roll()
    assert [row[3] for row in _rows(Span.MINUTE)] == [1, 1]


def test_a_crash_leaves_the_chunk_to_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    make_attempt(make_task(), 1, created_at=_minute(30))
    with monkeypatch.context() as broken:
        broken.setattr(RollupState, "save", _crash)
        with pytest.raises(RuntimeError):
            rollup.roll()
    assert (_rows(Span.MINUTE), RollupState.objects.count()) == ([], 0)

    rollup.roll()

    assert [row[3] for row in _rows(Span.HOUR)] == [1, 1]


def test_old_rows_go() -> None:
    now = clock.read()
    for span, age in (
        (Span.MINUTE, timedelta(hours=4)),
        (Span.HOUR, timedelta(days=33)),
        (Span.HOUR, timedelta(days=31)),
    ):
        PartnerRollup.objects.create(span=span, start=now - age, partner_key=0)
    make_attempt(make_task(), 1, created_at=_minute(30))

    rollup.roll()

    assert PartnerRollup.objects.filter(start__lt=now - timedelta(hours=3), span=Span.MINUTE).count() == 0
    assert PartnerRollup.objects.filter(start__lt=now - timedelta(days=30)).count() == 1


def test_the_first_key_of_a_time_is_found_however_many_are_missing() -> None:
    task = make_task()
    moments = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(12)]
    keys = [make_attempt(task, number + 1, created_at=at).pk for number, at in enumerate(moments)]
    NotificationAttempt.objects.filter(pk__in=keys[3:6]).delete()

    assert rollup._first_key(moments[4]) <= keys[6]
    assert rollup._first_key(moments[7]) in range(keys[6] + 1, keys[7] + 1)
    assert rollup._first_key(datetime(2027, 1, 1, tzinfo=UTC)) > keys[-1]


def test_percentiles_are_interpolated_in_their_bucket() -> None:
    counts = dict.fromkeys(COUNTS, 0) | {"latency_2": 50, "latency_5": 50}  # 10 to 20 ms, 100 to 200 ms

    assert (rollup.percentile(counts, 0.25), rollup.percentile(counts, 0.5)) == (15.0, 20.0)
    assert rollup.percentile(counts, 0.95) == pytest.approx(190.0)
    assert rollup.percentile(dict.fromkeys(COUNTS, 0), 0.5) is None
    assert rollup.success_ratio(counts | {"succeeded": 3, "failed": 1}) == 0.75


def _crash(*args: object, **kwargs: object) -> None:
    raise RuntimeError("killed")
