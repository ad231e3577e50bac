"""The claimer's turns, worked one at a time."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import override_settings

from deliveries.claimer import TURN_ROWS
from deliveries.pace import PACED_ROWS
from deliveries.woken import Lane
from notifier import clock
from notifier.models import NotificationTask, Partner, Status
from tests.support import broken_rows
from tests.support.away import away
from tests.support.factories import is_mysql, make_partner, make_task
from tests.support.stations import Stations
from tests.support.waiting import wait_until

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
    assert (stations.sent, stations.idled) == ([], 2)


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


def test_a_request_has_to_begin_while_its_lease_outlives_it() -> None:
    partner = make_partner()
    _tasks(partner, 1)
    stations = Stations()
    before = time.monotonic()

    (sending,) = stations.turn(partner)

    spare = settings.NOTIFIER_LEASE_SECONDS - settings.NOTIFIER_MAX_TIMEOUT_SECONDS
    assert before < sending.begin_before < time.monotonic() + spare


def test_a_partner_whose_data_cannot_be_used_is_logged_once_and_keeps_nobody_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    if is_mysql():
        pytest.skip("no value of MySQL's column types fails to be read; see tests/unit/deliveries/test_suspects.py")
    partners = [make_partner() for _ in range(3)]
    for partner in partners:
        _tasks(partner, 1)
    broken_rows.write(partners[1], "created_at", "2026-13-32 00:00:00")
    stations = Stations()

    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            # The sweep wakes it as long as it has work.
            stations.work(*partners)
            for _ in range(3):
                stations.work()

    assert {sending.partner.pk for sending in stations.sent} == {partners[0].pk, partners[2].pk}
    line = f"nothing can be claimed for partner {partners[1].partner_id}: "
    assert [record.message.startswith(line) for record in caplog.records] == [True]

    Partner.objects.filter(pk=partners[1].pk).update(created_at=partners[0].created_at)
    wait_until(
        lambda: stations.work(partners[1]) and len(stations.sent) == 3, seconds=5, what="the mended partner's turn"
    )


def test_a_row_that_cannot_be_used_ends_and_keeps_nobody_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    partners = [make_partner() for _ in range(2)]
    for partner in partners:
        _tasks(partner, 3)
    bad = NotificationTask.objects.filter(partner=partners[0]).order_by("pk")[1]
    broken_rows.write(bad, *(("headers", "{") if is_mysql() else ("task_id", "x" * 32)))
    stations = Stations()

    with caplog.at_level(logging.ERROR):
        stations.work(*partners)
        wait_until(lambda: stations.work() and len(stations.sent) == 5, seconds=5, what="the others to be sent")

    assert NotificationTask.objects.values_list("status", flat=True).get(pk=bad.pk) == Status.DEAD
    assert len(caplog.records) == 1
    assert "cannot be handled" in caplog.records[0].message


def _late(partner: Partner, count: int) -> None:
    for _ in range(count):
        make_task(partner, next_attempt_at=clock.read() - timedelta(minutes=5))


def _beside_a_healthy_one() -> tuple[Stations, Partner, Partner]:
    """A backlog of three short turns, and a partner that is served on time."""
    backlogged, healthy = make_partner(), make_partner()
    stations = Stations()
    stations.prove_prompt(backlogged, healthy)
    make_task(healthy)
    stations.turn(healthy)
    _late(backlogged, 3 * PACED_ROWS)
    return stations, backlogged, healthy


def test_beside_one_that_is_served_on_time_a_backlog_gets_short_turns_and_pauses_between_them() -> None:
    stations, backlogged, _ = _beside_a_healthy_one()

    assert len(stations.turn(backlogged)) == PACED_ROWS
    assert stations.next() == []
    wait_until(lambda: stations.next() == [backlogged.partner_id], seconds=5, what="the pause to end")
    assert len(stations.turn(backlogged)) == PACED_ROWS


def test_a_late_row_by_itself_does_not_put_a_partner_behind() -> None:
    stations, _, healthy = _beside_a_healthy_one()
    _late(healthy, 1)
    make_task(healthy)
    assert len(stations.turn(healthy)) == 2

    stations.woken.wake([healthy.partner_id])
    assert list(stations.woken.take(Lane.ON_TIME, 5, most_rows=100, timeout=0)) == [healthy.partner_id]


def test_a_backlog_with_nobody_beside_it_gets_long_turns_without_a_pause() -> None:
    backlogged = make_partner()
    stations = Stations()
    stations.prove_prompt(backlogged)
    _late(backlogged, 2 * PACED_ROWS + 10)

    assert len(stations.turn(backlogged)) == 2 * PACED_ROWS + 10
    assert stations.next() == []


def test_who_has_caught_up_is_not_behind_and_nobody_to_stand_back_for() -> None:
    backlogged, late = make_partner(), make_partner()
    stations = Stations()
    stations.prove_prompt(backlogged, late)
    _late(late, 1)
    _late(backlogged, 2 * PACED_ROWS)
    assert len(stations.turn(late)) == 1

    assert len(stations.turn(backlogged)) == 2 * PACED_ROWS
    stations.woken.wake([late.partner_id])
    assert list(stations.woken.take(Lane.ON_TIME, 5, most_rows=100, timeout=0)) == [late.partner_id]


def test_a_backlog_goes_on_however_often_those_on_time_come() -> None:
    stations, backlogged, healthy = _beside_a_healthy_one()

    def goes_on() -> bool:
        make_task(healthy)
        assert healthy.partner_id in {sending.partner.partner_id for sending in stations.turn(healthy, backlogged)}
        return not NotificationTask.objects.filter(partner=backlogged, next_attempt_at__isnull=False).exists()

    wait_until(goes_on, seconds=10, what="the backlog to be sent")


def test_one_that_has_expired_does_not_end_a_backlogs_turns() -> None:
    partner = make_partner()
    stations = Stations()
    stations.prove_prompt(partner)
    now = clock.read()
    make_task(
        partner,
        expires_at=now - timedelta(seconds=1),
        next_attempt_at=now - timedelta(minutes=9),
    )
    _late(partner, TURN_ROWS + 5)

    assert len(stations.turn(partner)) == TURN_ROWS - 1
    assert stations.next() == [partner.partner_id]


def test_expired_ones_alone_are_left_to_the_sweep_without_turning_round_and_round() -> None:
    partner, now = make_partner(), clock.read()
    stations = Stations(slots=2)
    for _ in range(5):
        make_task(partner, next_attempt_at=now - timedelta(minutes=5), expires_at=now - timedelta(seconds=1))

    assert stations.turn(partner) == []
    assert stations.next() == []
    wait_until(lambda: stations.next() == [partner.partner_id], seconds=5, what="its next turn")
