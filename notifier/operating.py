"""What operators may do to a partner's flow and to a task, from the API and from the admin.

The act and its entry in the audit trail are committed together; then the partner is woken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifier import audit, clock, intake, lifecycle, partner_flow
from notifier.audit import Actor
from notifier.models import NotificationTask, Partner, PartnerState, Status
from notifier.policy import redaction
from notifier.transactions import atomically
from notifier.wake import publisher


@dataclass(frozen=True, slots=True)
class Operation:
    """``name`` says what was done, ``action`` is its name in the audit trail. ``change`` gets the partner's key and the time, and says whether it changed anything. ``wakes``: more may go after it."""

    name: str
    action: str
    change: Callable[[int, datetime], bool]
    wakes: bool


PAUSE = Operation("paused", "partner.pause", lambda key, now: partner_flow.pause(key, now=now), wakes=False)
RESUME = Operation("resumed", "partner.resume", lambda key, now: partner_flow.resume(key), wakes=True)
OPEN_CIRCUIT = Operation(
    "circuit opened", "circuit.open", lambda key, now: partner_flow.set_circuit(key, open_=True, now=now), wakes=False
)
CLOSE_CIRCUIT = Operation(
    "circuit closed", "circuit.close", lambda key, now: partner_flow.set_circuit(key, open_=False, now=now), wakes=True
)
RELEASE_HOLD = Operation(
    "hold released", "hold.release", lambda key, now: partner_flow.release_hold(key, now=now), wakes=True
)


def operate(operation: Operation, partner: Partner, *, by: Actor) -> bool:
    """Do it, and wake the partner after the commit; False, and nothing changed, where it stands so already.

    A claim that holds the partner's state row is waited for: what is claimed after the commit obeys. A crash between
    commit and wake delays what may go to the next sweep.
    """

    def act() -> bool:
        before = _standing(partner, locked=True)
        if not operation.change(partner.pk, clock.read()):
            return False
        audit.record(
            by, operation.action, object_kind="partner", object_id=partner.partner_id, before=before, after=_standing(partner)
        )  # fmt: skip
        return True

    changed = atomically(act)
    if changed and operation.wakes:
        publisher.wake([partner.partner_id])
    return changed


def cancel(task: NotificationTask, *, by: Actor) -> bool:
    """End an unfinished task; False, and nothing changed, where it was finished already."""
    return atomically(lambda: _move(task, "task.cancel", lifecycle.cancel, by))


def requeue(task: NotificationTask, *, by: Actor) -> bool:
    """Make a failed or dead task due now; False where it is neither. The caller wakes its partner, once for all that it requeues."""
    return atomically(lambda: _move(task, "task.requeue", lifecycle.requeue, by))


def replace(task: NotificationTask, *, target_url: str, headers: Mapping[str, str], by: Actor) -> NotificationTask:
    """A new task that asks for the same with another address or other headers; the original, if it still waits, is cancelled.

    ``headers`` that read ``***`` keep the original's sealed value. Raises ``intake.Unusable``, ``intake.Refused`` as an accept would, and
    ``NotReplaceable`` where the original is neither failed nor dead; nothing was changed then. The new task, its link, the
    original's end and the entries of the trail are one transaction.
    """
    wanted, kept = intake.changed(task, target_url=target_url, headers=headers)

    def act() -> NotificationTask:
        rows = NotificationTask.objects.filter(pk=task.pk).values("status", "dead_reason", "attempt_count")
        before = rows.select_for_update().get()
        if before["status"] not in (Status.FAILED, Status.DEAD):
            raise NotReplaceable(before["status"])
        made = intake.store_replacement(task, wanted, kept)
        if before["status"] == Status.FAILED:
            lifecycle.cancel(task, now=clock.now())
        after = {**rows.get(), "replaced_by": str(made.task_id)}
        audit.record(by, "task.replace", object_kind="task", object_id=task.task_id, before=before, after=after)
        names = sorted(name for name, value in headers.items() if value != redaction.MASK)
        fresh = {"replaces": str(task.task_id), "target_url": made.target_url, "headers_given": names}
        audit.record(by, "task.create", object_kind="task", object_id=made.task_id, after=fresh)
        return made

    made = atomically(act)
    publisher.wake([task.partner.partner_id])
    return made


class NotReplaceable(Exception):
    """The task is in a state from which nothing is requeued; the message is that state."""


def _move(task: NotificationTask, action: str, transition: Callable[..., bool], by: Actor) -> bool:
    rows = NotificationTask.objects.filter(pk=task.pk).values("status", "dead_reason", "attempt_count")
    before = rows.select_for_update().get()
    if not transition(task, now=clock.now()):
        return False
    audit.record(by, action, object_kind="task", object_id=task.task_id, before=before, after=rows.get())
    return True


def _standing(partner: Partner, *, locked: bool = False) -> dict[str, Any]:
    """What operators change of the partner's state row, as the audit trail has it."""
    states = PartnerState.objects.filter(pk=partner.pk)
    columns = ("paused_at", "hold_until", "circuit_state", "circuit_reason")
    row = (states.select_for_update() if locked else states).values(*columns).get()
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
