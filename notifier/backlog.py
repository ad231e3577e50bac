"""What waits for partners, read from indexes up to a bound: no answer costs more because there is more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Min

from notifier.models import NotificationTask
from notifier.models.task import HIGHEST_PRIORITY

# The most that is counted of each kind, where one partner is asked for and where a page of them is.
PARTNER_BOUND = 100_000
LIST_BOUND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many tasks of a partner wait, how many of those are due, run and are dead. ``lower_bounds`` names the counts
    that reached the bound: there may be more."""

    waiting: int = 0
    due: int = 0
    running: int = 0
    dead: int = 0
    lower_bounds: tuple[str, ...] = ()
    oldest_due_at: datetime | None = None


def backlogs(partner_keys: Collection[int], *, now: datetime, bound: int) -> dict[int, Backlog]:
    """The backlog of each of these partners, in three statements however many they are."""
    keys = list(partner_keys)
    if not keys:
        return {}
    running, oldest = _running(keys), _oldest(keys, now)
    sql, parameters = counting(keys, now=now, bound=bound)
    found: dict[int, Backlog] = {}
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        for key, waiting, due, dead in cursor.fetchall():
            counts = {"waiting": waiting, "due": due, "dead": dead}
            found[key] = Backlog(
                **counts,
                running=running.get(key, 0),
                lower_bounds=tuple(name for name, count in counts.items() if count >= bound),
                oldest_due_at=oldest.get(key),
            )
    return found


def counting(keys: list[int], *, now: datetime, bound: int) -> tuple[str, list[Any]]:
    """The statement that counts, and its parameters: how many wait, are due and are dead of each partner.

    Each part names the index that it reads: by another one the database would walk what is finished too.
    """
    rank = connection.ops.quote_name("rank")
    ranks = f"{rank} IN ({', '.join(str(number) for number in range(HIGHEST_PRIORITY + 1))})"
    waiting = _bounded("task_claim", f"{ranks} AND next_attempt_at IS NOT NULL")
    due = _bounded("task_claim", f"{ranks} AND next_attempt_at <= %s")
    dead = _bounded("task_partner_status", "status_at_rest = 'dead'")
    at = connection.ops.adapt_datetimefield_value(now)
    parameters: list[Any] = []
    for key in keys:
        parameters += [key, key, bound, key, at, bound, key, bound]
    return " UNION ALL ".join([f"SELECT %s, {waiting}, {due}, {dead}"] * len(keys)), parameters


def _bounded(index: str, condition: str) -> str:
    table = connection.ops.quote_name(NotificationTask._meta.db_table)
    hint = f"FORCE INDEX ({index})" if connection.vendor == "mysql" else f"INDEXED BY {index}"
    rows = f"SELECT 1 AS found FROM {table} {hint} WHERE partner_id = %s AND {condition} LIMIT %s"  # noqa: S608 - no text of a caller's
    return f"(SELECT COUNT(*) FROM ({rows}) AS bounded)"  # noqa: S608 - as above


def _running(keys: list[int]) -> dict[int, int]:
    """As many as the workers have slots, at most; the sweep takes the leases of lost ones away."""
    running = NotificationTask.objects.filter(lease_expires_at__isnull=False, partner__in=keys).order_by()
    return dict(running.values_list("partner").annotate(Count("pk")))


def _oldest(keys: list[int], now: datetime) -> dict[int, datetime]:
    """Since when the longest due task of each partner is due: an index probe a partner and rank (a loose index scan).

    A subquery for each would say the same: for a page of 50 that took 0.27 s in all, this 0.03 s.
    """
    groups = NotificationTask.objects.order_by().filter(partner__in=keys).values_list("partner", "rank")
    found: dict[int, datetime] = {}
    for key, _, due_at in groups.annotate(Min("next_attempt_at")):
        if due_at is not None and due_at <= now:
            found[key] = min(due_at, found.get(key, due_at))
    return found
