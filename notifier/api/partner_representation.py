"""Partners as the API shows them: configuration without secrets, what holds them back, and what waits for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from notifier import sealing
from notifier.backlog import Backlog
from notifier.models import Partner, PartnerState
from notifier.partner_file import COLUMNS


def partner_document(partner: Partner, backlog: Backlog, *, now: datetime) -> dict[str, Any]:
    return {
        "partner_id": partner.partner_id,
        "configuration": _configuration(partner),
        "state": _state(partner.state, now),
        "backlog": {
            "waiting": backlog.waiting,
            "due": backlog.due,
            "running": backlog.running,
            "dead": backlog.dead,
            "lower_bounds": list(backlog.lower_bounds),
        },
        "oldest_waiting_seconds": (
            None if backlog.oldest_due_at is None else (now - backlog.oldest_due_at).total_seconds()
        ),
        "created_at": partner.created_at,
        "updated_at": partner.updated_at,
    }


def _configuration(partner: Partner) -> dict[str, Any]:
    """By the keys of the partners file."""
    shown: dict[str, Any] = {}
    for key, column in COLUMNS.items():
        section, _, name = key.rpartition(".")
        value = sealing.shown_headers(partner.headers) if column == "headers" else getattr(partner, column)
        (shown.setdefault(section, {}) if section else shown)[name] = value
    return shown


def _state(state: PartnerState, now: datetime) -> dict[str, Any]:
    circuit = state.circuit
    held = state.hold_until is not None and state.hold_until > now
    return {
        "paused": state.paused_at is not None,
        "paused_since": state.paused_at,
        "hold": {"until": state.hold_until, "since": state.held_at} if held else None,
        "circuit": {
            "state": circuit.state.value,
            "since": circuit.since,
            "reason": circuit.reason,
            "next_probe_at": circuit.probe_at,
        },
    }
