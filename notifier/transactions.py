"""Short transactions that InnoDB may ask to run again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, transaction

T = TypeVar("T")

DEADLOCK, LOCK_WAIT_TIMEOUT = 1213, 1205
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
            if not tries_left or not is_conflict(error):
                raise
            threading.Event().wait(random.uniform(0.001, 0.02))
    raise AssertionError("unreachable: the last try returns or raises")


def is_conflict(error: OperationalError) -> bool:
    """Whether InnoDB rolled the transaction back for another's sake: a deadlock or a lock wait time-out."""
    return bool(error.args) and error.args[0] in (DEADLOCK, LOCK_WAIT_TIMEOUT)
