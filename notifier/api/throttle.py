"""One producer cannot drown the others: each key's accepts are limited."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from prometheus_client import Counter

from notifier.accept_limit import limiter
from notifier.api.errors import Problem
from notifier.bounded_labels import BoundedLabels
from notifier.models import ApiKey

asked = Counter(
    "notifier_key_requests", "Requests to hand something over, by the API key's name and whether its rate let them in",
    ["key", "result"],
)  # fmt: skip
_names = BoundedLabels()


@cache
def _asked(name: str, result: str) -> Any:
    """Looking a counter up by its labels takes longer than counting; the names are few."""
    return asked.labels(name, result)


def admit(key: ApiKey) -> None:
    """Count one accept against the key's rate, or refuse with 429 before the body is read. Whoever takes more with the same
    request charges the rest to ``limiter.charge``.
    """
    wait = limiter.admit(key)
    _asked(_names.label(key.name), "refused" if wait > 0 else "admitted").inc()
    if wait > 0:
        seconds = math.ceil(wait)
        message = f"This key hands over more than it may. Try again in {seconds} s; with the same idempotency key nothing is sent twice."
        raise Problem(429, "rate_limited", message, headers={"Retry-After": str(seconds)})
