"""The sweep: finds what messages cannot know or have lost. Needs nothing but the database to be right."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection

from deliveries import measure
from notifier import bulk_requeue, clock, lifecycle
from notifier.models import NotificationTask, Partner, PartnerState, SweepState
from notifier.policy.circuit import State as CircuitState
from notifier.selectors import overdue_keys
from notifier.transactions import atomically

logger = logging.getLogger(__name__)

BATCH = 500
# Of expired leases and expired tasks each; what is left is the next sweep's, a second later.
MOST_BATCHES = 20
STATE = "sweep"
# A worker sweeps by itself when nobody has for this many intervals. It looks twice an interval, so that without beat and
# broker what is due waits for less than two intervals.
SUBSTITUTE_INTERVALS = 1.25


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did; ``due`` names the partners that have due work, all that have any that may go. ``begun`` is by the monotonic clock."""

    leases_expired: int
    tasks_expired: int
    due: list[str]
    begun: float


def sweep(*, by_beat: bool, unless_within: timedelta | None = None) -> Swept | None:
    """Close expired leases as attempts, end expired tasks, and find the partners with due work.

    None where another sweep ran within ``unless_within`` (by default half the sweep's interval): one at a time is enough.
    Every step is bounded and its own transaction; a crash anywhere leaves the rest to the next sweep.
    """
    begun = time.monotonic()
    now = clock.read()
    if unless_within is None:
        unless_within = timedelta(seconds=settings.NOTIFIER_SWEEP_SECONDS / 2)
    if not _take_turn(now, unless_within, by_beat):
        return None
    try:
        leases, expired = _close(now)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        # A row that cannot be changed fails its batch: without it the rest can go.
        if not lifecycle.bury_unusable(overdue_keys(now, limit=BATCH), now=now):
            raise
        leases, expired = _close(now)
    if leases:
        logger.warning("%d leases ran out: their workers were lost; the notifications are due again", leases)
    requeued = bulk_requeue.advance_all().partner_ids
    due = due_partners(now)
    measure.worker.swept(leases=leases, tasks=expired, seconds=time.monotonic() - begun)
    return Swept(leases, expired, due + sorted(requeued.difference(due)), begun)


def _close(now: datetime) -> tuple[int, int]:
    if not overdue_keys(now, limit=1):
        return 0, 0  # as nearly always, and without the round trips of two transactions
    leases = _repeat(lambda: len(atomically(lambda: lifecycle.release_expired(now=now, limit=BATCH))))
    return leases, _repeat(lambda: atomically(lambda: lifecycle.expire(now=now, limit=BATCH)))


def _take_turn(now: datetime, unless_within: timedelta, by_beat: bool) -> bool:
    """Whether this sweep may run: a guarded update, which one of several lets pass."""
    changes = {"swept_at": now} | ({"beat_at": now} if by_beat else {})
    state = SweepState.objects.filter(name=STATE)
    if state.filter(swept_at__lte=now - unless_within).update(**changes):
        return True
    if by_beat:
        state.update(beat_at=now)
    if state.exists():
        return False
    try:
        SweepState.objects.create(name=STATE, **changes)
    except IntegrityError:
        return False
    return True


def _repeat(step: Callable[[], int]) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        done = step()
        total += done
        if done < BATCH:
            break
    return total


def due_partners(now: datetime) -> list[str]:
    """The partner_ids of partners with due tasks that may go, at the cost of one index probe a partner and rank.

    Left out are those that cannot have a turn before a time that is not over, as disabled, paused and held ones.

    MIN over the groups of the claim index is a loose index scan: it jumps from group to group, however many tasks wait.
    (EXISTS would say the same, but MariaDB makes of it a walk over the whole backlog.)
    """
    sql, parameters = finding_due(now)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [partner_id for (partner_id,) in cursor.fetchall()]


def finding_due(now: datetime) -> tuple[str, list[Any]]:
    """The statement that finds them, and its parameters. Written out: the groups must stay a table of their own, which is
    read first; as a condition, MariaDB makes of them what it likes.
    """
    quote = connection.ops.quote_name
    task, partner, state = (quote(model._meta.db_table) for model in (NotificationTask, Partner, PartnerState))
    rank = quote("rank")
    straight = "STRAIGHT_JOIN" if connection.vendor == "mysql" else "CROSS JOIN"
    sql = (
        f"SELECT DISTINCT p.partner_id FROM (SELECT partner_id, {rank}, MIN(next_attempt_at) AS due_at "  # noqa: S608 - names of tables only
        f"FROM {task} GROUP BY partner_id, {rank} HAVING due_at <= %s ORDER BY NULL) g "
        f"{straight} {partner} p ON p.id = g.partner_id "
        f"{straight} {state} s ON s.partner_id = p.id WHERE p.enabled AND s.paused_at IS NULL "
        "AND (s.hold_until IS NULL OR s.hold_until <= %s) AND (s.circuit_state = %s OR s.circuit_probe_at <= %s)"
    )
    moment = connection.ops.adapt_datetimefield_value(now)
    return sql, [moment, moment, CircuitState.CLOSED.value, moment]


class Substitute:
    """Sweeps from a worker when nobody else does: with beat or broker dead, deliveries come seconds later, not never."""

    def __init__(self, *, tell: Callable[[Swept], object]) -> None:
        self._tell = tell
        self._look_at = 0.0

    def sweep_if_nobody_does(self) -> None:
        if time.monotonic() < self._look_at:
            return
        interval = settings.NOTIFIER_SWEEP_SECONDS
        self._look_at = time.monotonic() + interval / 2
        swept = sweep(by_beat=False, unless_within=timedelta(seconds=interval * SUBSTITUTE_INTERVALS))
        if swept is not None:
            self._tell(swept)
