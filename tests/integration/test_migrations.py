"""Migrations keep what was there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "0001_initial", "0002_flow_control"


def _migrate(*targets: tuple[str, str]) -> Any:
    """The models as they were after these migrations."""
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets))
    return MigrationExecutor(connection).loader.project_state(list(targets)).apps


@pytest.fixture(autouse=True)
def _afterwards_everything_is_migrated() -> Iterator[None]:
    yield
    _migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())


def test_paused_partners_stay_paused_and_others_are_not_there_and_back() -> None:
    apps = _migrate(("notifier", BEFORE))
    for name, paused in (("paused", True), ("active", False)):
        partner = apps.get_model("notifier", "Partner").objects.create(partner_id=name, paused=paused)
        apps.get_model("notifier", "PartnerState").objects.create(partner=partner)

    apps = _migrate(("notifier", AFTER))

    state = apps.get_model("notifier", "PartnerState").objects
    assert state.get(partner__partner_id="paused").paused_at is not None
    assert state.get(partner__partner_id="active").paused_at is None
    assert set(state.values_list("circuit_state", "tokens", "hold_until")) == {("closed", None, None)}

    apps = _migrate(("notifier", BEFORE))

    found = dict(apps.get_model("notifier", "Partner").objects.values_list("partner_id", "paused"))
    assert found == {"paused": True, "active": False}
