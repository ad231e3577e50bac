"""Rate and concurrency are exact, whichever workers claim and whatever becomes of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection
from datetime import timedelta

import pytest

from deliveries.sending import Sending
from notifier import clock, lifecycle
from notifier.models import NotificationTask, Partner, PartnerState, Status
from notifier.policy.exchange import Exchange
from notifier.transactions import atomically
from tests.support.factories import is_mysql, make_partner, make_task
from tests.support.stations import Stations
from tests.support.threads import Other, at_once
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 4
FAILED = Exchange(status=500)


def _tasks(partner: Partner, count: int) -> None:
    for _ in range(count):
        make_task(partner)


def _waiting(partner: Partner) -> bool:
    return NotificationTask.objects.filter(partner=partner, next_attempt_at__isnull=False).exists()


def _in_flight(partner: Partner) -> int:
    return NotificationTask.objects.filter(partner=partner, lease_expires_at__gt=clock.read()).count()


def _run_out(partner: Partner) -> None:
    """Its workers died long ago."""
    NotificationTask.objects.filter(partner=partner, lease_expires_at__isnull=False).update(
        lease_expires_at=clock.read() - timedelta(microseconds=1)
    )


def test_claimers_side_by_side_take_no_more_than_the_burst_and_what_the_rate_earns() -> None:
    """Exactly: what is left in the bucket is what it held and earned, less what was taken."""
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time: there is nothing to race")
    rate, burst, count = 100.0, 50, 120
    partner = make_partner(rate_per_second=rate, burst=burst)
    _tasks(partner, count)

    def claim(_: int) -> Stations:
        stations = Stations()
        stations.prove_prompt(partner)
        while _waiting(partner):
            stations.turn(partner)
        return stations

    workers = at_once(WORKERS, claim)

    taken = [sending.claim.id for stations in workers for sending in stations.sent]
    assert (len(taken), len(set(taken))) == (count, count)
    times = Counter(moment for stations in workers for moment in stations.sent_at)
    tokens, last = float(burst), min(times)
    for moment, took in sorted(times.items()):
        # Full after half a second without a claim, which a busy machine may well make.
        tokens, last = min(burst, tokens + rate * (moment - last).total_seconds()) - took, moment
        assert tokens >= -1e-3
    state = PartnerState.objects.get(pk=partner.pk)
    assert state.tokens_at == last
    assert state.tokens == pytest.approx(tokens, abs=1e-3)
    # None of them went without work: two had claims at least.
    assert sum(bool(stations.sent) for stations in workers) >= 2


def test_the_claimer_sets_a_timer_for_the_next_token() -> None:
    partner = make_partner(rate_per_second=50.0, burst=1)
    _tasks(partner, 3)
    stations = Stations()

    stations.work(partner)
    # The second and third turn come by themselves, when there is a token each.
    wait_until(lambda: stations.work() and len(stations.sent) == 3, seconds=5, what="the others to be sent")

    gaps = [later - sooner for sooner, later in zip(stations.sent_at, stations.sent_at[1:], strict=False)]
    assert min(gaps) >= timedelta(milliseconds=20) - timedelta(microseconds=2)


def test_tokens_of_a_claim_that_found_less_are_kept() -> None:
    partner = make_partner(rate_per_second=0.001, burst=10)
    _tasks(partner, 3)
    stations = Stations()

    assert len(stations.turn(partner)) == 3

    assert PartnerState.objects.get(pk=partner.pk).tokens == pytest.approx(7, abs=0.01)


def test_no_more_are_in_flight_than_may_be_whoever_claims() -> None:
    partner = make_partner(max_concurrency=5)
    _tasks(partner, 20)
    one, other = Stations(), Stations()

    first = one.turn(partner)[:5]
    assert (len(first), other.turn(partner)) == (5, [])

    one.answer(first[:2])
    assert len(other.turn(partner)) == 2
    assert one.turn(partner) == []
    assert _in_flight(partner) == 5


def test_a_slot_of_its_own_that_is_free_again_is_its_next_turn() -> None:
    partner = make_partner(max_concurrency=2)
    _tasks(partner, 3)
    stations = Stations()
    sent = stations.turn(partner)

    stations.answer(sent[:1])

    assert stations.next() == [partner.partner_id]


def test_failures_too_make_room() -> None:
    partner = make_partner(max_concurrency=3, circuit_failure_ratio=None)
    _tasks(partner, 6)
    stations = Stations()

    stations.answer(stations.turn(partner), FAILED)

    assert len(stations.turn(partner)) == 3


def test_a_lost_worker_s_requests_make_room_when_their_leases_run_out_and_not_before() -> None:
    partner = make_partner(max_concurrency=3)
    _tasks(partner, 10)
    lost, other = Stations(), Stations()
    assert len(lost.turn(partner)) == 3

    assert other.turn(partner) == []
    _run_out(partner)
    # No sweep was needed for it, and one makes no more room.
    assert len(other.turn(partner)) == 3
    released = atomically(lambda: lifecycle.release_expired(now=clock.read(), limit=10))
    assert released == [partner.pk] * 3
    assert other.turn(partner) == []
    assert _in_flight(partner) == 3


def test_late_answers_of_a_lost_worker_make_no_more_room() -> None:
    """Nothing is counted up or down that a crash or a late answer could make wrong."""
    partner = make_partner(max_concurrency=3)
    _tasks(partner, 10)
    late, other = Stations(), Stations()
    lost = late.turn(partner)
    _run_out(partner)
    assert len(other.turn(partner)) == 3

    late.answer(lost)

    assert (late.turn(partner), other.turn(partner), _in_flight(partner)) == ([], [], 3)


def test_claimers_side_by_side_keep_to_the_concurrency_while_answers_and_crashes_come() -> None:
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time: there is nothing to race")
    most, count = 5, 60
    partner = make_partner(max_concurrency=most)
    _tasks(partner, count)
    ended = threading.Event()

    def watch() -> int:
        highest = 0
        while not ended.is_set():
            highest = max(highest, _in_flight(partner))
        return highest

    def deliver(number: int) -> None:
        stations = Stations()
        while NotificationTask.objects.filter(partner=partner, finished_at__isnull=True).exists():
            sent = stations.turn(partner)
            # The first of them dies with a part of what it claims; its slots are its own loss.
            answered = sent if number else sent[1:]
            _crash([sending for sending in sent if sending not in answered])
            if answered:
                stations.answer(answered)
            atomically(lambda: lifecycle.release_expired(now=clock.read(), limit=100))

    watcher = Other(watch)
    try:
        at_once(WORKERS, deliver)
    finally:
        ended.set()

    assert 1 <= watcher.ended() <= most
    assert set(NotificationTask.objects.values_list("status", flat=True)) == {Status.SUCCEEDED}


def _crash(sendings: Collection[Sending]) -> None:
    """Their worker is lost, and their leases have run out."""
    keys = [sending.claim.id for sending in sendings]
    NotificationTask.objects.filter(pk__in=keys, status=Status.RUNNING).update(lease_expires_at=clock.read())
