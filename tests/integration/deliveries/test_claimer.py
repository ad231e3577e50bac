"""The claimer's turns, worked one at a time."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.conf import settings
from django.test import override_settings

from deliveries.claimer import Claimer
from deliveries.sending import Sending
from deliveries.woken import Woken
from notifier import clock
from notifier.models import NotificationTask, Partner, Status
from tests.support.factories import make_partner, make_task

pytestmark = pytest.mark.django_db(transaction=True)


class Turns:
    """A claimer whose claims are collected instead of sent."""

    def __init__(self, slots: int = 100) -> None:
        self.woken = Woken(slots)
        self.sent: list[Sending] = []
        self.idled = 0
        self._answered = 0
        self._claimer = Claimer(self.woken, send=self._send, idle=self._idle)

    def _send(self, sending: Sending, now: datetime) -> None:
        self.sent.append(sending)

    def _idle(self) -> None:
        self.idled += 1

    def work(self, *partners: Partner) -> bool:
        self.woken.wake([partner.partner_id for partner in partners])
        return self._claimer.work()

    def next(self) -> list[str]:
        """Whose turn would be next."""
        return list(self.woken.take(5, most_rows=100, timeout=0))

    def answered(self, *partners: Partner) -> None:
        """Everything in flight came back promptly, and something of each of these partners too."""
        self.woken.release([(sending.partner.partner_id, 0.01) for sending in self.sent[self._answered :]])
        self._answered = len(self.sent)
        for partner in partners:
            self.woken.occupy({partner.partner_id: 1})
            self.woken.release([(partner.partner_id, 0.01)])


def _tasks(partner: Partner, count: int) -> None:
    for _ in range(count):
        make_task(partner)


def test_a_turn_sends_what_is_due_and_takes_its_slots() -> None:
    partner = make_partner()
    _tasks(partner, 3)
    turns = Turns(slots=12)

    assert turns.work(partner) is True

    assert {sending.claim.id for sending in turns.sent} == set(NotificationTask.objects.values_list("pk", flat=True))
    assert turns.woken.free == 9
    # It had less than its share: nothing is left, and the partner is not woken again.
    assert turns.next() == []


def test_slots_are_shared_between_the_partners_of_a_turn() -> None:
    partners = [make_partner() for _ in range(3)]
    for partner in partners:
        _tasks(partner, 10)
    turns = Turns(slots=9)
    turns.answered(*partners)

    turns.work(*partners)

    counts = [sum(sending.partner.pk == partner.pk for sending in turns.sent) for partner in partners]
    assert counts == [6, 2, 1]
    assert turns.woken.free == 0
    # Each has more, and gets its next turn when slots are free again.
    turns.answered()
    assert sorted(turns.next()) == sorted(partner.partner_id for partner in partners)


def test_more_partners_than_slots_never_take_more_than_there_are() -> None:
    partners = [make_partner() for _ in range(5)]
    for partner in partners:
        _tasks(partner, 2)
    turns = Turns(slots=2)
    turns.answered(*partners)

    turns.work(*partners)

    assert (len(turns.sent), turns.woken.free) == (2, 0)
    turns.answered()
    turns.work()
    assert (len(turns.sent), turns.woken.free) == (4, 0)


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "disabled"])
def test_a_partner_that_may_not_go_is_let_go(paused: bool) -> None:
    partner = make_partner(enabled=paused, state={"paused_at": clock.read() if paused else None})
    _tasks(partner, 1)
    turns = Turns()

    turns.work(partner)

    assert (turns.sent, turns.woken.free) == ([], 100)
    assert turns.next() == []
    assert NotificationTask.objects.get().status == Status.PENDING


def test_an_unknown_partner_is_let_go() -> None:
    turns = Turns()
    turns.woken.wake(["nobody"])

    assert turns.work() is True
    assert (turns.sent, turns.idled) == ([], 1)


def test_a_stopped_claimer_claims_nothing() -> None:
    partner = make_partner()
    _tasks(partner, 1)
    turns = Turns()

    turns.woken.stop()

    assert turns.work(partner) is False
    assert NotificationTask.objects.get().status == Status.PENDING


@override_settings(NOTIFIER_LEASE_SECONDS=settings.NOTIFIER_MAX_TIMEOUT_SECONDS)
def test_a_claim_that_took_too_long_is_given_back() -> None:
    """Its requests could outlive their leases: the claim is undone, and the partner is woken again."""
    partner = make_partner()
    _tasks(partner, 2)
    turns = Turns()

    turns.work(partner)

    assert (turns.sent, turns.woken.free) == ([], 100)
    assert set(NotificationTask.objects.values_list("status", "attempt_count", "lease_token")) == {
        (Status.PENDING, 0, None)
    }
    assert turns.next() == [partner.partner_id]
