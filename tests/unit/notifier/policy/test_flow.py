from __future__ import annotations

import pytest

from notifier.policy.flow import Permit, Wait, permit


def test_the_reasons_are_stable() -> None:
    assert [wait.value for wait in Wait] == ["paused"]


@pytest.mark.parametrize("slots", [0, 1, 100])
def test_an_enabled_partner_may_use_its_share(slots: int) -> None:
    assert permit(enabled=True, paused=False, slots=slots) == Permit(slots, None)


@pytest.mark.parametrize(("enabled", "paused"), [(True, True), (False, False), (False, True)])
@pytest.mark.parametrize("slots", [0, 1, 100])
def test_a_paused_or_disabled_partner_waits(enabled: bool, paused: bool, slots: int) -> None:
    assert permit(enabled=enabled, paused=paused, slots=slots) == Permit(0, Wait.PAUSED)
