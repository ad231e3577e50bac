"""The three stations together, in this process, against a real database and a real partner."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deliveries.dispatcher import Dispatcher
from deliveries.sweeper import STATE, Swept
from notifier import clock
from notifier.models import NotificationAttempt, NotificationTask, Partner, Status, SweepState
from notifier.models.task import DeadReason
from notifier.tracing import tracing
from tests.support.factories import make_partner, make_task
from tests.support.ledger import PartnerSimulator
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerSimulator]:
    running = PartnerSimulator(Path(tmp_path_factory.mktemp("ledger")))
    yield running
    running.stop()


@pytest.fixture
def partner() -> Partner:
    return make_partner(allow_hosts=["127.0.0.1:*"], allow_private_cidrs=["127.0.0.0/8"])


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    running = Dispatcher()
    running.start()
    yield running
    running.drain(10)


def _unfinished() -> int:
    return NotificationTask.objects.filter(finished_at__isnull=True).count()


def test_a_woken_partners_tasks_are_delivered(
    dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator
) -> None:
    tasks = [make_task(partner, target_url=simulator.url(f"/ok?n={number}")) for number in range(50)]

    dispatcher.wake([partner.partner_id])

    wait_until(lambda: not _unfinished(), seconds=20, what="the tasks to end")
    assert set(NotificationTask.objects.values_list("status", "attempt_count")) == {(Status.SUCCEEDED, 1)}
    counts = simulator.counts()
    assert [counts[str(task.task_id)] for task in tasks] == [1] * 50
    wait_until(lambda: dispatcher.in_flight == 0, seconds=5, what="the slots to be free")


def test_what_a_sweep_found_is_delivered(dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator) -> None:
    make_task(partner, target_url=simulator.url("/ok"))
    # The dispatcher's own sweep has no turn.
    SweepState.objects.update_or_create(name=STATE, defaults={"swept_at": clock.read() + timedelta(hours=1)})

    dispatcher.swept(Swept(leases_expired=0, tasks_expired=0, due=[partner.partner_id], begun=time.monotonic()))

    wait_until(lambda: not _unfinished(), seconds=20, what="the task to end")


def test_a_slow_answer_does_not_hold_back_a_fast_one(
    dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator
) -> None:
    slow = make_task(partner, target_url=simulator.url("/never"))
    fast = make_task(partner, target_url=simulator.url("/ok"))

    dispatcher.wake([partner.partner_id])

    wait_until(
        lambda: NotificationTask.objects.get(pk=fast.pk).status == Status.SUCCEEDED, seconds=4, what="the fast one"
    )
    assert NotificationTask.objects.get(pk=slow.pk).status == Status.RUNNING


def test_a_host_that_is_no_longer_allowed_is_not_asked(
    dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator
) -> None:
    task = make_task(partner, target_url=simulator.url("/ok"))
    partner.allow_hosts = ["hooks.example.com"]
    partner.save()

    dispatcher.wake([partner.partner_id])

    wait_until(lambda: not _unfinished(), seconds=10, what="the task to end")
    task.refresh_from_db()
    assert (task.status, task.dead_reason) == (Status.DEAD, DeadReason.BLOCKED)
    assert task.last_error_code == "address_blocked"
    assert simulator.counts()[str(task.task_id)] == 0


def test_an_address_that_no_range_opens_is_not_connected_to(
    dispatcher: Dispatcher, simulator: PartnerSimulator
) -> None:
    closed = make_partner(allow_hosts=["127.0.0.1:*"])
    task = make_task(closed, target_url=simulator.url("/ok"))

    dispatcher.wake([closed.partner_id])

    wait_until(lambda: not _unfinished(), seconds=10, what="the task to end")
    task.refresh_from_db()
    assert (task.dead_reason, simulator.counts()[str(task.task_id)]) == (DeadReason.BLOCKED, 0)


def test_a_header_that_cannot_be_sent_poisons_its_own_task_only(
    dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator
) -> None:
    bad = make_task(partner, target_url=simulator.url("/ok"), headers={"X-A": "\u20ac"}, max_attempts=1)
    good = make_task(partner, target_url=simulator.url("/ok"))

    dispatcher.wake([partner.partner_id])

    wait_until(lambda: not _unfinished(), seconds=10, what="the tasks to end")
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.dead_reason, bad.last_error_code) == (DeadReason.REJECTED, "internal_error")
    assert good.status == Status.SUCCEEDED


def test_a_row_that_cannot_be_read_poisons_its_own_task_only(
    dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator
) -> None:
    bad = make_task(partner, target_url="no url", max_attempts=1)
    sealed = make_task(partner, target_url=simulator.url("/ok"), headers={"Cookie": {"sealed": "?"}}, max_attempts=1)
    good = make_task(partner, target_url=simulator.url("/ok"))

    dispatcher.wake([partner.partner_id])

    wait_until(lambda: not _unfinished(), seconds=10, what="the tasks to end")
    for task in (bad, sealed):
        task.refresh_from_db()
        assert (task.dead_reason, task.last_error_code) == (DeadReason.REJECTED, "internal_error")
    good.refresh_from_db()
    assert good.status == Status.SUCCEEDED


def test_draining_finishes_what_is_in_flight_and_claims_nothing_more(
    partner: Partner, simulator: PartnerSimulator
) -> None:
    dispatcher = Dispatcher()
    dispatcher.start()
    task = make_task(partner, target_url=simulator.url("/slow/500"))
    dispatcher.wake([partner.partner_id])
    wait_until(lambda: simulator.counts()[str(task.task_id)] == 1, seconds=10, what="the request to be in flight")

    dispatcher.stop_claiming()
    later = make_task(partner, target_url=simulator.url("/ok"))
    dispatcher.wake([partner.partner_id])

    assert dispatcher.drain(10) == 0
    task.refresh_from_db()
    later.refresh_from_db()
    assert (task.status, later.status) == (Status.SUCCEEDED, Status.PENDING)


def test_what_the_deadline_cuts_off_keeps_its_lease(partner: Partner, simulator: PartnerSimulator) -> None:
    dispatcher = Dispatcher()
    dispatcher.start()
    task = make_task(partner, target_url=simulator.url("/never"))
    dispatcher.wake([partner.partner_id])
    wait_until(lambda: simulator.counts()[str(task.task_id)] == 1, seconds=10, what="the request to be in flight")

    assert dispatcher.drain(0) == 1

    task.refresh_from_db()
    assert (task.status, NotificationAttempt.objects.count()) == (Status.RUNNING, 0)


def test_where_traces_are_on_the_request_is_a_span_that_the_partner_sees(
    dispatcher: Dispatcher, partner: Partner, simulator: PartnerSimulator
) -> None:
    exporter, trace = InMemorySpanExporter(), "0af7651916cd43dd8448eb211c80319c"
    tracing.start(exporter, service="tests", at_once=True)
    try:
        task = make_task(partner, target_url=simulator.url("/ok"), traceparent=f"00-{trace}-b7ad6b7169203331-01")
        dispatcher.wake([partner.partner_id])
        wait_until(lambda: not _unfinished(), seconds=10, what="the task to end")
    finally:
        tracing.stop()

    claim, send = exporter.get_finished_spans()
    (seen,) = [request for request in simulator.requests() if request.webhook_id == str(task.task_id)]
    assert (claim.name, send.name) == ("claim", "send")
    assert send.context is not None
    assert seen.headers["traceparent"] == f"00-{trace}-{send.context.span_id:016x}-01"
