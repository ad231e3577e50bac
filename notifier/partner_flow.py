"""The state rows of partners: pause, hold, circuit, tokens. Written here alone; the rules are ``notifier.policy``'s."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from notifier import clock
from notifier.lifecycle.rowwise import listed, update_rows
from notifier.models import PartnerState
from notifier.policy import circuit, flow
from notifier.policy.circuit import Circuit, CircuitPolicy, Evidence, Tally
from notifier.policy.flow import Flow, Limits

MAX_REASON = 200
_FREE = Flow()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a batch of attempts taught about one partner. ``probe``: what the probe among them said, if one was."""

    policy: CircuitPolicy
    tally: Tally
    hold_until: datetime | None = None
    probe: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Turned:
    """A circuit that changed its state."""

    partner: int
    circuit: Circuit


def lock(partner_keys: Collection[int]) -> tuple[dict[int, Flow], datetime]:
    """What holds these partners back, their state rows locked until the transaction ends; what another claim holds is left out.

    And the database's time, which is not asked for in a statement of its own.

    Most rows say that nothing does, and a claim of a hundred partners has no time for a hundred instances: whole rows are
    read of the others only. Where the database cannot skip locked rows (SQLite), the transaction itself is the lock.
    """
    if not partner_keys:
        return {}, clock.read()
    skip = " FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    operations: Any = connection.ops  # django-stubs knows the base class only
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT partner_id, paused_at IS NULL AND hold_until IS NULL AND circuit_state = %s, tokens, tokens_at, "  # noqa: S608 - no text of a caller's
            f"{clock.sql()} FROM {operations.quote_name(PartnerState._meta.db_table)} "
            f"WHERE partner_id IN ({listed(partner_keys)}){skip}",
            [circuit.State.CLOSED.value],
        )
        rows = cursor.fetchall()
    now = clock.answered(rows[0][-1]) if rows else clock.read()
    flows = {}
    for key, free, tokens, tokens_at, _ in rows:
        if free:
            at = operations.convert_datetimefield_value(tokens_at, None, connection)
            flows[key] = _FREE if tokens is None else Flow(tokens=tokens, tokens_at=at)
    held = [key for key, *_ in rows if key not in flows]
    if held:
        flows |= {state.pk: state.flow() for state in _read(held)}
    return flows, now


def _read(keys: Collection[int], *, lock: bool = False) -> list[PartnerState]:
    """The rows, in the order of their keys. Written out: for a statement of a few rows Django's way to its text costs more than the rest."""
    operations: Any = connection.ops  # django-stubs knows the base class only
    fields = PartnerState._meta.concrete_fields
    columns = ", ".join(operations.quote_name(field.column) for field in fields)
    suffix = " FOR UPDATE" if lock and connection.features.has_select_for_update else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {operations.quote_name(PartnerState._meta.db_table)} "  # noqa: S608 - names of columns only
            f"WHERE partner_id IN ({listed(keys)}) ORDER BY partner_id{suffix}"
        )
        rows = cursor.fetchall()
    moment = operations.convert_datetimefield_value
    is_moment = [field.get_internal_type() == "DateTimeField" for field in fields]
    names = [field.attname for field in fields]
    return [
        PartnerState.from_db(
            connection.alias,
            names,
            [moment(value, None, connection) if at else value for value, at in zip(row, is_moment, strict=True)],
        )
        for row in rows
    ]


def spend(taken: Mapping[int, int], flows: Mapping[int, tuple[Flow, Limits]], *, now: datetime) -> None:
    """Take the tokens of what was claimed. In the claim's transaction: rolled back with it, never spent twice."""
    rows: list[Mapping[str, Any]] = []
    for key, count in taken.items():
        state, limits = flows[key]
        if count and limits.rate_per_second is not None:
            tokens = flow.refilled(state, limits, now) - count
            at = now if state.tokens_at is None else max(now, state.tokens_at)
            rows.append({"id": key, "tokens": tokens, "tokens_at": at})
    if rows:
        _update(rows)


def send_probes(flows: Mapping[int, Flow], *, now: datetime, lease_for: timedelta) -> None:
    """These partners' circuits are half-open: one probe each was claimed. In the claim's transaction.

    A crash after the commit leaves a probe that is never heard of: the next may go when its lease has run out.
    """
    if flows:
        _write({key: circuit.probing(state.circuit, now=now, lease_for=lease_for) for key, state in flows.items()})


def learn(lessons: Mapping[int, Lesson], *, now: datetime) -> list[Turned]:
    """Take in what attempts taught: holds, counts, and the circuits that turn by them. To be called in a transaction.

    A crash before the commit forgets it; what comes back next teaches it again.
    """
    if not lessons:
        return []
    locked = _read(lessons, lock=True)
    holds: list[Mapping[str, Any]] = []
    circuits: dict[int, Circuit] = {}
    turned: list[Turned] = []
    for state in locked:
        lesson, before = lessons[state.pk], state.circuit
        if lesson.hold_until is not None and (state.hold_until is None or lesson.hold_until > state.hold_until):
            began = now if state.hold_until is None or state.hold_until <= now else state.held_at
            holds.append({"id": state.pk, "hold_until": lesson.hold_until, "held_at": began})
        after = before
        if lesson.probe is not None:
            after = circuit.probed(after, lesson.policy, lesson.probe, lesson.tally.error_code, now=now)
        else:
            after = circuit.counted(after, lesson.policy, lesson.tally, now=now)
        if after != before:
            circuits[state.pk] = after
        if after.state is not before.state:
            turned.append(Turned(state.pk, after))
    if holds:
        _update(holds)
    _write(circuits)
    return turned


def _write(circuits: Mapping[int, Circuit]) -> None:
    rows = [
        {
            "id": key,
            "circuit_state": now.state.value,
            "circuit_since": now.since,
            "circuit_reason": now.reason[:MAX_REASON],
            "circuit_probe_at": now.probe_at,
            "circuit_openings": now.openings,
            "circuit_attempts": now.attempts,
            "circuit_failures": now.failures,
            "circuit_counted_at": now.counted_at,
        }
        for key, now in circuits.items()
    ]
    if rows:
        _update(rows)


def _update(rows: Sequence[Mapping[str, Any]]) -> None:
    count = update_rows(PartnerState, rows)
    if count != len(rows):  # pragma: no cover - the rows are locked and exist; a broken update_rows would get here
        raise RuntimeError(f"wrote {count} locked state rows instead of {len(rows)}")


def probe_again(partner_keys: Collection[int], *, now: datetime) -> None:
    """The probes of these partners were given back unsent: others may go at once."""
    half_open = PartnerState.objects.filter(pk__in=partner_keys, circuit_state=circuit.State.HALF_OPEN)
    half_open.update(circuit_probe_at=now)


def pause(partner: int, *, now: datetime) -> bool:
    """Let the partner's notifications wait: none is claimed after this. False where it was paused already."""
    return PartnerState.objects.filter(pk=partner, paused_at__isnull=True).update(paused_at=now) == 1


def resume(partner: int) -> bool:
    """Let them go again; wake the partner after the commit. False where it was not paused."""
    return PartnerState.objects.filter(pk=partner, paused_at__isnull=False).update(paused_at=None) == 1


def set_circuit(partner: int, *, open_: bool, now: datetime) -> bool:
    """An operator's word: open until closed again, or closed with fresh counts. False where it stands so already."""
    states = PartnerState.objects.filter(pk=partner)
    if open_:
        after = circuit.opened_by_hand(now=now)
        states = states.exclude(circuit_state=circuit.State.OPEN, circuit_probe_at__isnull=True)
    else:
        after = circuit.closed_by_hand(now=now)
        states = states.exclude(circuit_state=circuit.State.CLOSED)
    found = states.values_list("pk", flat=True).select_for_update()
    for key in found:
        _write({key: after})
    return bool(found)


def release_hold(partner: int, *, now: datetime) -> bool:
    """An operator's word: do not wait for the partner's Retry-After. False where it asked for none."""
    held = PartnerState.objects.filter(pk=partner, hold_until__gt=now)
    return held.update(hold_until=None, held_at=None) == 1
