from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from deliveries import sweeper, tasks
from notifier import clock, lifecycle
from notifier.models import NotificationTask, Partner, Status, SweepState
from notifier.models.task import DeadReason
from tests.support import broken_rows
from tests.support.away import away
from tests.support.factories import is_mysql, make_partner, make_task

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def _due() -> list[str]:
    return sorted(sweeper.due_partners(clock.read()))


def test_partners_with_due_tasks_are_found_whatever_their_priority() -> None:
    partners = [make_partner() for _ in range(3)]
    for rank, partner in zip((0, 4, 9), partners, strict=True):
        make_task(partner, rank=rank)
        make_task(partner, rank=rank)

    assert _due() == sorted(partner.partner_id for partner in partners)


_WAITS = {
    "held": {"hold_until": HOUR},
    "paused": {"paused_at": -HOUR},
    "open": {"circuit_state": "open", "circuit_probe_at": HOUR},
    "open until an operator closes it": {"circuit_state": "open"},
    "a probe is on its way": {"circuit_state": "half_open", "circuit_probe_at": HOUR},
}
_GOES = {
    "the hold is over": {"hold_until": -HOUR},
    "a probe is due": {"circuit_state": "open", "circuit_probe_at": -HOUR},
    "a probe was lost": {"circuit_state": "half_open", "circuit_probe_at": -HOUR},
}


def _in_state(columns: Mapping[str, str | timedelta]) -> Partner:
    """A partner with a due task; a span is a time, counted from now."""
    now = clock.read()
    state = {name: now + value if isinstance(value, timedelta) else value for name, value in columns.items()}
    partner = make_partner(state=state)
    make_task(partner)
    return partner


@pytest.mark.parametrize("columns", _WAITS.values(), ids=_WAITS)
def test_partners_that_must_wait_are_not_woken(columns: Mapping[str, str | timedelta]) -> None:
    _in_state(columns)

    assert _due() == []


@pytest.mark.parametrize("columns", _GOES.values(), ids=_GOES)
def test_partners_whose_wait_is_over_are_woken(columns: Mapping[str, str | timedelta]) -> None:
    partner = _in_state(columns)

    assert _due() == [partner.partner_id]


def test_disabled_partners_are_not_woken() -> None:
    make_task(make_partner(enabled=False))

    assert _due() == []


def test_partners_without_due_tasks_are_not_woken() -> None:
    now = clock.read()
    make_task(next_attempt_at=now + HOUR)
    for status in (Status.RUNNING, Status.SUCCEEDED, Status.DEAD):
        make_task(status=status)

    assert _due() == []


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
def test_finding_due_partners_does_not_walk_the_backlog() -> None:
    if not is_mysql():
        pytest.skip("EXPLAIN of MySQL")
    for _ in range(5):
        partner = make_partner()
        for _ in range(200):
            make_task(partner)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()
        assert len(_due()) == 5
        sql, parameters = sweeper.finding_due(clock.read())
        cursor.execute(f"EXPLAIN {sql}", parameters)
        (groups,) = (row for row in cursor.fetchall() if row[2] == "notifier_notificationtask")

    assert groups[5] == "task_claim"
    assert groups[-1].split("; ")[0] == "Using index for group-by"
    assert "filesort" not in groups[-1]


def test_a_sweep_closes_leases_ends_the_expired_and_names_who_is_due() -> None:
    now = clock.read()
    lost, overdue, due = make_task(), make_task(expires_at=now - HOUR), make_task()
    lifecycle.claim({lost.partner_id: 1}, now=clock.read(), lease_for=-HOUR)

    swept = sweeper.sweep(by_beat=True)

    assert swept is not None
    assert (swept.leases_expired, swept.tasks_expired) == (1, 1)
    # The lost one is due again at the sweep's own time.
    assert sorted(swept.due) == sorted([lost.partner.partner_id, due.partner.partner_id])
    overdue.refresh_from_db()
    assert overdue.dead_reason == DeadReason.EXPIRED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", ["overdue", "its worker lost"])
def test_a_row_that_the_database_refuses_to_change_keeps_no_sweep_from_the_others(state: str) -> None:
    if not is_mysql():
        pytest.skip("SQLite checks only the columns that change")
    now = clock.read()
    fields: dict[str, Any] = (
        {"expires_at": now - HOUR} if state == "overdue" else {"status": Status.RUNNING, "lease_expires_at": now - HOUR}
    )
    bad, good = make_task(**fields), make_task(**fields)
    broken_rows.write(bad, "headers", "{")

    swept = sweeper.sweep(by_beat=True)

    assert swept is not None
    assert swept.leases_expired + swept.tasks_expired == 1
    assert NotificationTask.objects.values_list("dead_reason", flat=True).get(pk=bad.pk) == DeadReason.REJECTED
    good.refresh_from_db()
    assert good.last_error_code == ("lease_expired" if state == "its worker lost" else None)


def test_more_than_one_batch_is_closed_in_one_sweep() -> None:
    partner, now = make_partner(), clock.read()
    count = sweeper.BATCH + 10
    template = make_task(partner, expires_at=now - HOUR)
    values = NotificationTask.objects.filter(pk=template.pk).values().get()
    rows = {name: value for name, value in values.items() if name != "id"}
    NotificationTask.objects.bulk_create(
        [NotificationTask(**{**rows, "task_id": uuid.uuid4()}) for _ in range(count - 1)], batch_size=200
    )

    swept = sweeper.sweep(by_beat=False)

    assert swept is not None
    assert swept.tasks_expired == count
    assert NotificationTask.objects.filter(status=Status.DEAD).count() == count


def test_one_sweep_at_a_time_is_enough() -> None:
    first = sweeper.sweep(by_beat=True)
    second = sweeper.sweep(by_beat=True)

    assert (first is None, second is None) == (False, True)


def test_a_sweep_is_due_again_after_its_interval() -> None:
    sweeper.sweep(by_beat=False)
    SweepState.objects.update(swept_at=clock.read() - timedelta(seconds=10))

    assert sweeper.sweep(by_beat=False, unless_within=timedelta(seconds=9)) is not None
    assert sweeper.sweep(by_beat=False, unless_within=timedelta(seconds=9)) is None


def test_only_beats_sweeps_count_as_beats() -> None:
    sweeper.sweep(by_beat=False)
    assert SweepState.objects.get().beat_at is None

    # Another one swept just now, but beat lives.
    assert sweeper.sweep(by_beat=True) is None
    assert SweepState.objects.get().beat_at is not None


def test_a_worker_sweeps_only_when_nobody_has() -> None:
    task, woken = make_task(), list[str]()
    sweeper.sweep(by_beat=True)
    sweeper.Substitute(tell=lambda swept: woken.extend(swept.due)).sweep_if_nobody_does()
    assert woken == []

    SweepState.objects.update(swept_at=clock.read() - timedelta(seconds=60))
    substitute = sweeper.Substitute(tell=lambda swept: woken.extend(swept.due))
    substitute.sweep_if_nobody_does()
    substitute.sweep_if_nobody_does()

    assert woken == [Partner.objects.get(pk=task.partner_id).partner_id]


def test_a_sweep_without_a_database_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with away(SweepState), caplog.at_level(logging.ERROR):
        tasks.sweep()

    assert [record.message for record in caplog.records] == ["the sweep waits for the database: OperationalError"]


@pytest.mark.django_db(transaction=True)
def test_a_sweep_whose_kept_connection_was_killed_makes_a_new_one() -> None:
    """Celery keeps the connections of its threads: a database that was restarted must not cost a thread its sweeps."""
    if not is_mysql():
        pytest.skip("SQLite has no connection to lose")
    tasks.sweep.apply()
    before = SweepState.objects.get().swept_at
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (own,) = cursor.fetchone()
        killer = connection.copy()
        with contextlib.closing(killer), killer.cursor() as other:
            other.execute("KILL %s", [own])
            other.execute("UPDATE notifier_sweepstate SET swept_at = swept_at - INTERVAL 1 HOUR")

    tasks.sweep.apply()

    assert SweepState.objects.get().swept_at >= before


@pytest.mark.django_db(transaction=True)
def test_beats_sweeps_are_one_at_a_time_in_a_process() -> None:
    """While one waits for a database that hangs, those that come meanwhile would only queue behind it."""
    tasks.sweep.apply()
    SweepState.objects.update(swept_at=F("swept_at") - timedelta(hours=1))
    before = SweepState.objects.get().swept_at

    with tasks._sweeping:
        tasks.sweep.apply()
        assert SweepState.objects.get().swept_at == before
    tasks.sweep.apply()

    assert SweepState.objects.get().swept_at > before
