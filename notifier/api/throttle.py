"""One producer cannot drown the others: each key's accepts are limited."""

from __future__ import annotations

import math

from notifier.accept_limit import limiter
from notifier.api.errors import Problem
from notifier.models import ApiKey


def admit(key: ApiKey) -> None:
    """Count one accept against the key's rate, or refuse with 429 before the body is read. Whoever takes more with the same
    request charges the rest to ``limiter.charge``.
    """
    wait = limiter.admit(key)
    if wait > 0:
        seconds = math.ceil(wait)
        message = f"This key hands over more than it may. Try again in {seconds} s; with the same idempotency key nothing is sent twice."
        raise Problem(429, "rate_limited", message, headers={"Retry-After": str(seconds)})
