from __future__ import annotations

import pytest

from notifier.wake import publisher


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the broker's side is asked for, in place of the broker."""
    calls: list[list[str]] = []
    monkeypatch.setattr(publisher, "wake", lambda partner_ids: calls.append(sorted(partner_ids)))
    return calls
