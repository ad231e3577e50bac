"""Short transactions that InnoDB may ask to run again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, OperationalError, connections, transaction
from prometheus_client import Counter

from notifier.availability import is_connection_lost

T = TypeVar("T")

conflicts = Counter(
    "notifier_transaction_conflicts",
    "Transactions that the database undid for another's sake; they are tried again, at most 3 times",
    ["kind"],
)

DEADLOCK, LOCK_WAIT_TIMEOUT = 1213, 1205
# What a server says of a connection that it has closed meanwhile: MySQL of one that was idle, MariaDB of one that was killed.
CLOSED_BY_SERVER = {4031, 1927}
CONFLICTS = {DEADLOCK: "deadlock", LOCK_WAIT_TIMEOUT: "lock_wait_timeout"}
for _kind in CONFLICTS.values():
    conflicts.labels(_kind)  # a rate needs the zero before the first one
TRIES = 4


def atomically(work: Callable[[], T]) -> T:
    """Run ``work`` in one transaction; again, at most 3 times, where the database chose it as a deadlock's victim.

    Only database work belongs in ``work``: it may run more than once. Raises the last error when the tries are used up,
    and every other error at once; nothing of a failed try remains.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            with transaction.atomic():
                return work()
        except OperationalError as error:
            if not conflicted(error) or not tries_left:
                raise
            back_off()
    raise AssertionError("unreachable: the last try returns or raises")


def back_off() -> None:
    """Let the other transaction go first, for 1 to 20 ms."""
    threading.Event().wait(random.uniform(0.001, 0.02))


def conflicted(error: OperationalError) -> bool:
    """Whether InnoDB undid the transaction for another's sake, a deadlock or a lock wait time-out; it is counted then."""
    kind = CONFLICTS.get(error.args[0]) if error.args else None
    if kind is not None:
        conflicts.labels(kind).inc()
    return kind is not None


def reconnecting(work: Callable[[], T]) -> T:
    """Run ``work`` without asking first whether the connection still stands, which would be a round trip of its own.

    Where it does not, ``work`` runs once more on a new one: the first time may have been committed nevertheless, and
    ``work`` must see to it that this does no harm. In a transaction of the caller's it runs once.
    """
    # Asked for once: Django finds the thread's connection anew each time.
    current = connections[DEFAULT_DB_ALIAS]
    if current.in_atomic_block:
        return work()
    current.health_check_done = True  # type: ignore[attr-defined]  # the stub does not know it
    try:
        return work()
    except Error as error:
        code = error.args[0] if error.args else None
        if not is_connection_lost(error) and code not in CLOSED_BY_SERVER:
            raise
        current.close()
        return work()
