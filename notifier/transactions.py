"""Short transactions that InnoDB may ask to run again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, transaction
from prometheus_client import Counter

T = TypeVar("T")

conflicts = Counter(
    "notifier_transaction_conflicts",
    "Transactions that the database undid for another's sake; they are tried again, at most 3 times",
    ["kind"],
)

DEADLOCK, LOCK_WAIT_TIMEOUT = 1213, 1205
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
            threading.Event().wait(random.uniform(0.001, 0.02))
    raise AssertionError("unreachable: the last try returns or raises")


def conflicted(error: OperationalError) -> bool:
    """Whether InnoDB undid the transaction for another's sake, a deadlock or a lock wait time-out; it is counted then."""
    kind = CONFLICTS.get(error.args[0]) if error.args else None
    if kind is not None:
        conflicts.labels(kind).inc()
    return kind is not None
