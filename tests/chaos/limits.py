"""Whether a partner got more than its limits allow, as its receiver sees it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from tests.chaos.ledger import Limit, Request

# From the claim, which takes the tokens, to the arrival: a claim that has become older than two seconds is given back
# (lease - time-out - half its margin, with this run's settings), and a busy machine adds to that.
TRANSIT_SECONDS = 2.5
# A sender that gives up closes its connection; the receiver may hear of that a moment after the next request.
CLOSE_SECONDS = 0.25
# What adding up floats may lose of a token.
EPSILON = 1e-3


def exceeded(limit: Limit, requests: Sequence[Request], *, lease_seconds: float) -> list[str]:
    """A sentence for each request that came though the limit was reached."""
    arrived = sorted(requests, key=lambda request: request.arrived)
    return _rate(limit, arrived) + _concurrency(limit, arrived, lease_seconds)


def _rate(limit: Limit, requests: Sequence[Request]) -> list[str]:
    """A bucket of burst + rate · transit that fills at the rate: empty exactly where some window has seen too many."""
    if limit.rate_per_second is None:
        return []
    most = (limit.burst or 1) + limit.rate_per_second * TRANSIT_SECONDS
    tokens, last = most, 0.0
    found = []
    for request in requests:
        tokens = min(most, tokens + (request.arrived - last) * limit.rate_per_second)
        last = request.arrived
        if tokens < 1 - EPSILON:
            found.append(
                f"{limit.partner} got {request.id} at {request.arrived:.3f}: "
                f"more than {limit.rate_per_second:g}/s with a burst of {limit.burst}"
            )
        else:
            tokens -= 1
    return found


def _concurrency(limit: Limit, requests: Sequence[Request], lease_seconds: float) -> list[str]:
    """A request counts from its arrival until it was answered or its connection ended.

    Nor does it count for longer than a lease: a frozen sender cannot close its connection, and nobody else can.
    """
    if limit.max_concurrency is None:
        return []
    ends: list[float] = []
    found = []
    for request in requests:
        while ends and ends[0] <= request.arrived:
            heapq.heappop(ends)
        if len(ends) >= limit.max_concurrency:
            found.append(
                f"{limit.partner} got {request.id} at {request.arrived:.3f} with {len(ends)} unanswered: "
                f"more than {limit.max_concurrency} at once"
            )
        ended = request.ended - CLOSE_SECONDS if request.answer == "closed" else request.ended
        heapq.heappush(ends, min(ended, request.arrived + lease_seconds))
    return found
