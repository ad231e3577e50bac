"""Partners that hang or flood, beside one that is well: the dispatcher's slots and turns are shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from deliveries.dispatcher import Dispatcher
from notifier.models import NotificationTask, Partner, Status
from tests.support.factories import make_partner, make_task
from tests.support.ledger import PartnerSimulator
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SLOTS = 60
LOOPBACK: dict[str, Any] = {"allow_hosts": ["127.0.0.1:*"], "allow_private_cidrs": ["127.0.0.0/8"]}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSimulator]:
    running = PartnerSimulator(Path(tmp_path_factory.mktemp("ledger")))
    yield running
    running.stop()


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    with override_settings(NOTIFIER_ENGINE_SLOTS=SLOTS):
        running = Dispatcher()
    running.start()
    yield running
    running.drain(0)


def _black_holes(simulator: PartnerSimulator, count: int, *, tasks_each: int) -> list[str]:
    """Partners that never answer, for longer than any test waits; without a circuit, which would help."""
    with transaction.atomic():
        partners = [make_partner(timeout_seconds=30.0, circuit_failure_ratio=None, **LOOPBACK) for _ in range(count)]
        for partner in partners:
            for _ in range(tasks_each):
                make_task(partner, target_url=simulator.url("/never"))
    return [partner.partner_id for partner in partners]


def _deliver(dispatcher: Dispatcher, simulator: PartnerSimulator, partner: Partner, *, seconds: float) -> None:
    task = make_task(partner, target_url=simulator.url("/ok"))
    dispatcher.wake([partner.partner_id])
    wait_until(
        lambda: NotificationTask.objects.get(pk=task.pk).status == Status.SUCCEEDED,
        seconds=seconds,
        what="the healthy partner's task to be delivered",
    )


def _in_flight() -> int:
    return NotificationTask.objects.filter(lease_expires_at__isnull=False).count()


def test_one_partner_that_hangs_cannot_take_all_slots(dispatcher: Dispatcher, simulator: PartnerSimulator) -> None:
    holes = _black_holes(simulator, 1, tasks_each=2 * SLOTS)
    dispatcher.wake(holes)
    wait_until(lambda: _in_flight() >= SLOTS // 4, seconds=10, what="the black hole to have its slots")

    newcomer = make_partner(**LOOPBACK)
    for _ in range(3):
        _deliver(dispatcher, simulator, newcomer, seconds=5)

    assert _in_flight() <= SLOTS // 2


def test_a_thousand_black_holes_leave_a_healthy_partner_its_slots(
    dispatcher: Dispatcher, simulator: PartnerSimulator
) -> None:
    """Far more of them than slots, all at once, and each hangs for longer than the test."""
    healthy = make_partner(**LOOPBACK)
    _deliver(dispatcher, simulator, healthy, seconds=5)
    dispatcher.wake(_black_holes(simulator, 1000, tasks_each=1))
    wait_until(lambda: _in_flight() == SLOTS // 2, seconds=10, what="the black holes to have their part of the slots")

    for _ in range(10):
        _deliver(dispatcher, simulator, healthy, seconds=5)

    assert _in_flight() == SLOTS // 2


def test_a_flood_leaves_others_their_turns(dispatcher: Dispatcher, simulator: PartnerSimulator) -> None:
    """What comes to a healthy partner during a flood is delivered long before the flood has gone."""
    flood, healthy = make_partner(**LOOPBACK), make_partner(**LOOPBACK)
    with transaction.atomic():
        for _ in range(1500):
            make_task(flood, target_url=simulator.url("/ok"))
    dispatcher.wake([flood.partner_id])

    _deliver(dispatcher, simulator, healthy, seconds=10)

    left = NotificationTask.objects.filter(partner=flood, finished_at__isnull=True).count()
    assert left > 500
