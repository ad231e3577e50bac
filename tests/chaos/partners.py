"""The partners of a run: most without limits, some with a rate, some with a concurrency, some with both."""

from __future__ import annotations

from typing import Any

from tests.chaos.ledger import Limit

PARTNERS = 24
TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 1.0
# Each partner gets five notifications a second; after an outage the rate lets a backlog drain at as many more.
RATE_PER_SECOND = 12.0
BURST = 6
MAX_CONCURRENCY = 3
# Of the kind that a real partner would have for minutes, but short: nothing may be exhausted by a run's faults.
RETRY = {"base_seconds": 0.5, "factor": 2, "max_seconds": 3, "max_attempts": 100, "jitter": "full"}

# Trips as it would in earnest, but looks again soon: a run's faults are over in seconds.
CIRCUIT = {"window_seconds": 10, "min_attempts": 10, "pause_seconds": 2, "max_pause_seconds": 5}


def limits() -> dict[str, Limit]:
    """By partner; those without any limit included."""
    found = {}
    for number in range(PARTNERS):
        name = f"partner-{number:02}"
        rated, bounded = number % 6 in (1, 5), number % 6 in (3, 5)
        found[name] = Limit(
            partner=name,
            rate_per_second=RATE_PER_SECOND if rated else None,
            burst=BURST if rated else None,
            max_concurrency=MAX_CONCURRENCY if bounded else None,
        )
    return found


def configuration() -> dict[str, dict[str, Any]]:
    """What ``apply_partners`` reads."""
    return {
        name: {
            "allow_hosts": ["127.0.0.1:*"],
            "allow_private_cidrs": ["127.0.0.0/8"],
            "connect_timeout_seconds": CONNECT_TIMEOUT_SECONDS,
            "timeout_seconds": TIMEOUT_SECONDS,
            "retry": RETRY,
            "circuit": CIRCUIT,
            "rate_per_second": limit.rate_per_second,
            "burst": limit.burst,
            "max_concurrency": limit.max_concurrency,
        }
        for name, limit in limits().items()
    }
