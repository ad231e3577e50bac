"""What operators may do to a partner's flow, from the API and from the admin: committed first, then the partner is woken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from notifier import clock, partner_flow
from notifier.models import Partner
from notifier.transactions import atomically
from notifier.wake import publisher


@dataclass(frozen=True, slots=True)
class Operation:
    """``name`` says what was done. ``change`` gets the partner's key and the time, and says whether it changed anything. ``wakes``: more may go after it."""

    name: str
    change: Callable[[int, datetime], bool]
    wakes: bool


PAUSE = Operation("paused", lambda key, now: partner_flow.pause(key, now=now), wakes=False)
RESUME = Operation("resumed", lambda key, now: partner_flow.resume(key), wakes=True)
OPEN_CIRCUIT = Operation(
    "circuit opened", lambda key, now: partner_flow.set_circuit(key, open_=True, now=now), wakes=False
)
CLOSE_CIRCUIT = Operation(
    "circuit closed", lambda key, now: partner_flow.set_circuit(key, open_=False, now=now), wakes=True
)
RELEASE_HOLD = Operation("hold released", lambda key, now: partner_flow.release_hold(key, now=now), wakes=True)


def operate(operation: Operation, partner: Partner) -> bool:
    """Do it, and wake the partner after the commit; False, and nothing changed, where it stands so already.

    A claim that holds the partner's state row is waited for: what is claimed after the commit obeys. A crash between
    commit and wake delays what may go to the next sweep.
    """
    changed = atomically(lambda: operation.change(partner.pk, clock.read()))
    if changed and operation.wakes:
        publisher.wake([partner.partner_id])
    return changed
