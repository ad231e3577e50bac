"""What a run prints: a line every ten seconds, the table of faults, the breaches, and the last line."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Sequence

from tests.chaos.duplicates import culprit
from tests.chaos.ledger import Fault
from tests.chaos.verdict import Evidence, Verdict

SHOWN = 20


def table(evidence: Evidence, verdict: Verdict) -> str:
    """One line for each kind of fault.

    ``longest silence`` is the longest time without any delivery during such a fault or right after it. Leases that ran out and
    duplicates count for the fault that cost a worker its result.
    """
    times = Counter(fault.kind for fault in evidence.faults)
    explained = Counter(duplicate.fault for duplicate in verdict.duplicates if duplicate.why is not None)
    leases = _leases(evidence)
    successes = sorted(request.ended for request in evidence.requests if request.success)
    silence: dict[str, float] = {}
    for fault in evidence.faults:
        silence[fault.kind] = max(silence.get(fault.kind, 0.0), _silence(fault, successes))
    lines = [f"{'fault':20}{'times':>6}{'longest silence':>17}{'leases run out':>16}{'duplicates':>12}"]
    lines += [
        f"{kind:20}{times[kind]:>6}{silence[kind]:>15.1f} s{leases[kind]:>16}{explained[kind]:>12}"
        for kind in sorted(times)
    ]
    lines.append(f"{'none: late answers':20}{'':>6}{'':>17}{leases[None]:>16}{explained[None]:>12}")
    return "\n".join(lines)


def _leases(evidence: Evidence) -> Counter[str | None]:
    """How many attempts ended as ``lease_expired``, by the fault to which their claim fell victim."""
    losing = [fault for fault in evidence.faults if fault.kind in evidence.losing]
    arrived = {(request.id, request.attempt): request.arrived for request in evidence.requests}
    found: Counter[str | None] = Counter()
    for task in evidence.tasks:
        for attempt in task.attempts:
            if attempt.status == "lease_expired":
                # One that never arrived was claimed a lease ago at least: the sweep may have come late.
                begin = arrived.get((task.id, attempt.number), attempt.at - evidence.lease_seconds)
                fault = culprit(losing, begin, attempt.at)
                found[None if fault is None else fault.kind] += 1
    return found


def _silence(fault: Fault, successes: Sequence[float]) -> float:
    """The longest time without a delivery, counted from the fault's begin at the earliest, that began before its end."""
    after = bisect.bisect_left(successes, fault.began)
    longest, last = 0.0, fault.began
    for success in itertools.islice(successes, after, None):
        longest = max(longest, success - last)
        last = success
        if last > fault.ended:
            break
    return longest


def breaches(verdict: Verdict) -> str:
    """Every kind of breach with its first sentences."""
    lines = []
    for kind, sentences in verdict.breaches.items():
        lines += [f"{kind}: {sentence}" for sentence in sentences[:SHOWN]]
        if len(sentences) > SHOWN:
            lines.append(f"{kind}: … and {len(sentences) - SHOWN} more")
    return "\n".join(lines)


def last_line(verdict: Verdict, *, faults: int, seed: int) -> str:
    counts = {kind: len(verdict.breaches[kind]) for kind in ("lost", "invented", "wrong", "stuck", "holes", "limits")}
    figures = {"accepted": verdict.accepted, "delivered": verdict.delivered, **counts}
    figures |= {"duplicates": len(verdict.duplicates), "unexplained": len(verdict.breaches["unexplained"])}
    figures |= {"faults": faults, "seed": seed}
    return "chaos: " + " ".join(f"{name}={value}" for name, value in figures.items())
