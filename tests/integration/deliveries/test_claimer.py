"""The claimer's turns, worked one at a time."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import override_settings

from notifier import clock
from notifier.models import NotificationTask, Partner, Status
from tests.support.away import away
from tests.support.factories import make_partner, make_task
from tests.support.stations import Stations

pytestmark = pytest.mark.django_db(transaction=True)


def _tasks(partner: Partner, count: int) -> None:
    for _ in range(count):
        make_task(partner)


def test_a_turn_sends_what_is_due_and_takes_its_slots() -> None:
    partner = make_partner()
    _tasks(partner, 3)
    stations = Stations(slots=12)

    assert stations.work(partner) is True

    assert {sending.claim.id for sending in stations.sent} == set(NotificationTask.objects.values_list("pk", flat=True))
    assert stations.woken.free == 9
    # It had less than its share: nothing is left, and the partner is not woken again.
    assert stations.next() == []


def test_slots_are_shared_between_the_partners_of_a_turn() -> None:
    partners = [make_partner() for _ in range(3)]
    for partner in partners:
        _tasks(partner, 10)
    stations = Stations(slots=9)
    stations.prove_prompt(*partners)

    stations.work(*partners)

    counts = [sum(sending.partner.pk == partner.pk for sending in stations.sent) for partner in partners]
    assert (min(counts) >= 1, sum(counts)) == (True, 9)
    assert stations.woken.free == 0
    # Each has more, and gets its next turn when slots are free again.
    stations.answer(stations.sent)
    assert sorted(stations.next()) == sorted(partner.partner_id for partner in partners)


def test_more_partners_than_slots_never_take_more_than_there_are() -> None:
    partners = [make_partner() for _ in range(5)]
    for partner in partners:
        _tasks(partner, 2)
    stations = Stations(slots=2)
    stations.prove_prompt(*partners)

    stations.work(*partners)

    assert (len(stations.sent), stations.woken.free) == (2, 0)
    stations.answer(stations.sent)
    stations.work()
    assert (len(stations.sent), stations.woken.free) == (4, 0)


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "disabled"])
def test_a_partner_that_may_not_go_is_let_go(paused: bool) -> None:
    partner = make_partner(enabled=paused, state={"paused_at": clock.read() if paused else None})
    _tasks(partner, 1)
    stations = Stations()

    stations.work(partner)

    assert (stations.sent, stations.woken.free) == ([], 1000)
    assert stations.next() == []
    assert NotificationTask.objects.get().status == Status.PENDING


def test_while_the_database_is_away_partners_stay_woken() -> None:
    partner = make_partner()
    _tasks(partner, 1)
    stations = Stations()

    with away(NotificationTask), pytest.raises(OperationalError):
        stations.work(partner)

    assert stations.woken.free == 1000
    # Nobody wakes it again.
    assert len(stations.turn()) == 1


def test_an_unknown_partner_is_let_go() -> None:
    stations = Stations()
    stations.woken.wake(["nobody"])

    assert stations.work() is True
    assert (stations.sent, stations.idled) == ([], 1)


def test_a_stopped_claimer_claims_nothing() -> None:
    partner = make_partner()
    _tasks(partner, 1)
    stations = Stations()

    stations.woken.stop()

    assert stations.work(partner) is False
    assert NotificationTask.objects.get().status == Status.PENDING


@override_settings(NOTIFIER_LEASE_SECONDS=settings.NOTIFIER_MAX_TIMEOUT_SECONDS)
def test_a_claim_that_took_too_long_is_given_back() -> None:
    """Its requests could outlive their leases: the claim is undone, and the partner is woken again."""
    partner = make_partner()
    _tasks(partner, 2)
    stations = Stations()

    stations.work(partner)

    assert (stations.sent, stations.woken.free) == ([], 1000)
    assert set(NotificationTask.objects.values_list("status", "attempt_count", "lease_token")) == {
        (Status.PENDING, 0, None)
    }
    assert stations.next() == [partner.partner_id]
