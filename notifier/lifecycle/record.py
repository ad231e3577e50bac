"""running → succeeded, failed, dead (record, release_expired); failed → succeeded by a late success."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, assert_never

from django.db import connection

from notifier.lifecycle.rowwise import insert_rows, listed, update_rows
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Status
from notifier.policy.exchange import FailureKind, Timing
from notifier.policy.retry import Dead, DeadReason, Decision, RetryAt, Succeeded

MAX_MESSAGE = 500


class Result(NamedTuple):
    """What one attempt came to, ready to be written: everything in it is redacted and bounded."""

    task_key: int
    attempt_no: int
    lease_token: uuid.UUID
    decision: Decision
    attempt_status: AttemptStatus
    # A failed probe of an open circuit: it does not count against the task's budget of attempts.
    excused: bool = False
    http_status_code: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    timing: Timing | None = None
    remote_ip: str | None = None
    response_headers: Sequence[Sequence[str]] = ()
    response_body: str = ""


class _State(NamedTuple):
    """Of a task whose result is to be written. The token is text, with or without hyphens as the column's type has it."""

    id: int
    status: str
    lease_token: str | None
    attempt_count: int
    attempts_excused: int
    last_attempt_no: int | None

    def held_with(self, token: uuid.UUID) -> bool:
        if self.status != Status.RUNNING or self.lease_token is None:
            return False
        return str(self.lease_token).replace("-", "") == token.hex


def record(results: Sequence[Result], *, now: datetime) -> set[int]:
    """Write what came back: tasks moved on where the lease still holds, and every attempt. Returns the keys moved.

    To be called in a transaction. A result whose lease was lost does not move its task, with one exception: a success
    closes a failed task that nobody has claimed since. A crash before the commit leaves running rows, which
    ``release_expired`` closes; the partner may then get the same request again.
    """
    if not results:
        return set()
    by_key = {result.task_key: result for result in results}
    if len(by_key) != len(results):
        raise ValueError("two results for one task in one batch")
    states = _lock(by_key)
    holders: list[Result] = []
    late: list[Result] = []
    for result in results:
        state = states.get(result.task_key)
        if state is None:
            continue  # pruned meanwhile: nothing is left to write to
        (holders if state.held_with(result.lease_token) else late).append(result)
    closing = [result for result in late if _closes(result, states[result.task_key])]
    moved = _move_locked(holders, states, now) | _move_locked(closing, states, now)
    _summarise([r for r in late if r.task_key not in moved and _is_newest(r, states[r.task_key])], now)
    if holders:
        insert_rows(NotificationAttempt, [_attempt(result, now) for result in holders])
    for result in late:
        _insert_or_complete(result, now)
    return moved


class LeaseLost(Exception):
    """Of some of the results the lease was lost: the transaction must be undone, and they are for ``record``."""


def record_held(results: Sequence[Result], *, now: datetime) -> None:
    """``record`` of results whose leases still hold, as nearly all do: two statements, and the tasks are not read.

    To be called in a transaction, which must be undone where this raises ``LeaseLost``. A crash leaves what ``record``'s does.
    """
    # In the order of their keys within each kind of decision; with whom that deadlocks is tried again.
    held = sorted((result for result in results if not result.excused), key=lambda result: result.task_key)
    if held:
        if _move(held, now) != len(held):
            raise LeaseLost
        insert_rows(NotificationAttempt, [_attempt(result, now) for result in held])
    # Failed probes: how many were excused before must be read.
    record([result for result in results if result.excused], now=now)


def _lock(keys: Collection[int]) -> dict[int, _State]:
    """The tasks as they are, locked in the order of their keys. Rows as the driver gives them: this runs for each result."""
    table = connection.ops.quote_name(NotificationTask._meta.db_table)
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(_State._fields)} FROM {table} WHERE id IN ({listed(keys)}) ORDER BY id{lock}"  # noqa: S608 - no text of a caller's
        )
        return {row[0]: _State(*row) for row in cursor.fetchall()}


def _closes(result: Result, state: _State) -> bool:
    """Whether a late result closes its task: a success, and the task waits unclaimed since this attempt."""
    return (
        isinstance(result.decision, Succeeded)
        and state.status == Status.FAILED
        and state.attempt_count == result.attempt_no
    )


def _is_newest(result: Result, state: _State) -> bool:
    return state.last_attempt_no is None or state.last_attempt_no <= result.attempt_no


def _move_locked(results: Sequence[Result], states: Mapping[int, _State], now: datetime) -> set[int]:
    count = _move(results, now, states)
    if count != len(results):  # pragma: no cover - the rows are locked and exist; a broken update_rows would get here
        raise RuntimeError(f"moved {count} locked tasks instead of {len(results)}")
    return {result.task_key for result in results}


def _move(results: Sequence[Result], now: datetime, locked: Mapping[int, _State] | None = None) -> int:
    """One statement for each kind of decision: most of what it writes is the same in all of its rows. Returns how many moved:
    all that are ``locked``, else those whose lease holds.
    """
    alike: defaultdict[Status, list[tuple[Result, dict[str, Any]]]] = defaultdict(list)
    for result in results:
        moved = _moved(result, now)
        if locked is not None:
            moved["attempts_excused"] = locked[result.task_key].attempts_excused + result.excused
        alike[moved["status"]].append((result, moved))
    count = 0
    for group in alike.values():
        held = None if locked is not None else ("lease_token", [result.lease_token for result, _ in group])
        count += update_rows(NotificationTask, [moved for _, moved in group], held=held)
    return count


def _summarise(results: Sequence[Result], now: datetime) -> None:
    if results:
        update_rows(NotificationTask, [_summary(result, now) for result in results])


def _moved(result: Result, now: datetime) -> dict[str, Any]:
    row = _summary(result, now)
    row |= {"lease_token": None, "lease_expires_at": None, "updated_at": now, "room": ""}
    decision = result.decision
    match decision:
        case Succeeded():
            row |= {"status": Status.SUCCEEDED, "dead_reason": None, "next_attempt_at": None, "finished_at": now}
        case RetryAt(at):
            row |= {"status": Status.FAILED, "dead_reason": None, "next_attempt_at": at, "finished_at": None}
        case Dead(reason):
            row |= {"status": Status.DEAD, "dead_reason": reason.value, "next_attempt_at": None, "finished_at": now}
        case _:
            assert_never(decision)
    return row


def _summary(result: Result, now: datetime) -> dict[str, Any]:
    return {
        "id": result.task_key,
        "last_attempt_no": result.attempt_no,
        "last_attempt_status": result.attempt_status.value,
        "last_http_status_code": result.http_status_code,
        "last_error_code": result.error_code,
        "last_error_message": _message(result),
        "last_latency_ms": result.timing and result.timing.total_ms,
        "last_attempt_at": now,
    }


def _message(result: Result) -> str | None:
    return None if result.error_message is None else result.error_message[:MAX_MESSAGE]


def _facts(result: Result) -> dict[str, Any]:
    timing = result.timing
    return {
        "status": result.attempt_status.value,
        "http_status_code": result.http_status_code,
        "error_code": result.error_code,
        "error_message": _message(result),
        "latency_ms": timing and timing.total_ms,
        "dns_ms": timing and timing.dns_ms,
        "connect_ms": timing and timing.connect_ms,
        "tls_ms": timing and timing.tls_ms,
        "ttfb_ms": timing and timing.ttfb_ms,
        "remote_ip": result.remote_ip,
        "response_headers": result.response_headers,
        "response_body": result.response_body,
    }


def _attempt(result: Result, now: datetime) -> dict[str, Any]:
    return {"task_id": result.task_key, "attempt_no": result.attempt_no, "created_at": now, **_facts(result)}


def _insert_or_complete(result: Result, now: datetime) -> None:
    """A late result: the sweep may have written its attempt as lost, which this completes with what is known now."""
    lost = NotificationAttempt.objects.filter(
        task_id=result.task_key, attempt_no=result.attempt_no, status=AttemptStatus.LEASE_EXPIRED
    )
    if not lost.update(**_facts(result)):
        NotificationAttempt.objects.get_or_create(
            task_id=result.task_key, attempt_no=result.attempt_no, defaults={**_facts(result), "created_at": now}
        )


def lost_attempt(task_key: int, number: int, token: uuid.UUID, *, decision: Decision, message: str) -> Result:
    """An attempt whose lease is taken from its worker, which has not told how it ended. What it tells later completes it."""
    return Result(
        task_key=task_key,
        attempt_no=number,
        lease_token=token,
        decision=decision,
        attempt_status=AttemptStatus.LEASE_EXPIRED,
        error_code=FailureKind.LEASE_EXPIRED.value,
        error_message=message,
    )


def release_expired(*, now: datetime, limit: int) -> list[int]:
    """Close leases that ran out, at most ``limit``: the attempt is written as ``lease_expired``, outcome unknown.

    To be called in a transaction. The task is due again at once (the partner is not to blame), or dead (exhausted)
    where that was its last attempt. Returns the partner keys of the tasks that wait again.
    """
    keys = list(
        NotificationTask.objects.filter(lease_expires_at__lte=now)
        .order_by("lease_expires_at")
        .values_list("pk", flat=True)[:limit]
    )
    locked = NotificationTask.objects.filter(pk__in=keys).order_by("pk").select_for_update()
    results, partners = [], []
    for task in locked.only(
        "partner_id", "status", "lease_token", "lease_expires_at", "attempt_count", "attempts_before_requeue",
        "attempts_excused", "max_attempts",
    ):  # fmt: skip
        if task.lease_token is None or task.lease_expires_at is None or task.lease_expires_at > now:
            continue  # recorded or given back since it was read
        exhausted = task.attempts_used >= task.max_attempts
        results.append(
            lost_attempt(
                task.pk,
                task.attempt_count,
                task.lease_token,
                decision=Dead(DeadReason.EXHAUSTED) if exhausted else RetryAt(now),
                message="The worker was lost before it could tell how the attempt ended.",
            )
        )
        if not exhausted:
            partners.append(task.partner_id)
    record(results, now=now)
    return partners
