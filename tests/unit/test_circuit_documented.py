"""docs/operations.md shows the circuit's defaults, and when its probes go."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from notifier.policy import circuit
from notifier.policy.circuit import CircuitPolicy, Evidence, State, Tally

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _documented() -> dict[str, Any]:
    (block,) = re.findall(r"(?s)```yaml\n(partners:\n  acme:\n    circuit:.*?)```", DOCUMENT)
    shown: dict[str, Any] = yaml.safe_load(block)["partners"]["acme"]["circuit"]
    return shown


def test_the_defaults_are_the_documented_ones() -> None:
    assert CircuitPolicy(**_documented()) == CircuitPolicy()


def test_the_probes_go_when_the_document_says() -> None:
    policy, now = CircuitPolicy(), NOW
    state = circuit.counted(circuit.CLOSED, policy, Tally(0, policy.min_attempts, "timeout"), now=now)
    pauses: list[float] = []
    while len(pauses) < 10:
        assert state.state is State.OPEN
        assert state.probe_at is not None
        pauses.append((state.probe_at - now).total_seconds())
        now = state.probe_at
        probing = circuit.probing(state, now=now, lease_for=timedelta(minutes=1))
        state = circuit.probed(probing, policy, Evidence.FAILED, "timeout", now=now)

    first, *growing, fixed, again = pauses
    longer = ", ".join(f"{pause:.0f}" for pause in growing[:-1])
    sentence = (
        f"probes go {first:.0f} s after it opened, then after {longer} and {growing[-1]:.0f} s more "
        f"({sum(pauses[:-2]) / 60:.1f} minutes in all), then every {fixed / 60:.0f} minutes"
    )
    assert sentence in " ".join(DOCUMENT.split())
    assert fixed == again == policy.max_pause_seconds
