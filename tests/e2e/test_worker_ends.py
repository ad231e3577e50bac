"""A worker that is killed, and one that is asked to stop, with two hundred requests in flight."""

from __future__ import annotations

import signal

from tests.e2e import scenarios
from tests.support.ledger import PartnerSimulator
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

IN_FLIGHT = 200


def _in_flight(system: FullSystem, partner: PartnerSimulator) -> list[str]:
    """Two hundred requests that the partner has and has not answered.

    Posted while the worker is frozen, so that all of them are claimed and sent at one moment.
    """
    worker = system.worker()
    system.apply_partners(slow=scenarios.PARTNER | {"timeout_seconds": 3})
    worker.send_signal(signal.SIGSTOP)
    ids = [system.client.notify(partner_id="slow", target_url=partner.url("/slow/2500")) for _ in range(IN_FLIGHT)]
    worker.send_signal(signal.SIGCONT)
    wait_until(lambda: set(ids) <= set(partner.counts()), seconds=30, what="all requests to be in flight")
    return ids


def test_what_a_killed_worker_had_in_flight_is_delivered_by_another(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    worker = system.worker()
    ids = _in_flight(system, partner)

    worker.send_signal(signal.SIGKILL)
    worker.wait(10)
    system.start_worker("worker-2")

    tasks = scenarios.ended(system.client, ids, seconds=60)
    lost = 0
    for task_id in ids:
        attempts = system.client.attempts(task_id)
        assert tasks[task_id]["status"] == "succeeded"
        assert [attempt["attempt_no"] for attempt in attempts] == list(range(1, tasks[task_id]["attempt_count"] + 1))
        assert partner.counts()[task_id] == len(attempts)
        lost += sum(attempt["status"] == "lease_expired" for attempt in attempts)
    assert lost == IN_FLIGHT


def test_a_worker_that_is_asked_to_stop_finishes_and_sends_nothing_twice(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    worker = system.worker()
    ids = _in_flight(system, partner)

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    system.start_worker("worker-3")

    tasks = scenarios.ended(system.client, ids, seconds=30)
    assert {(task["status"], task["attempt_count"]) for task in tasks.values()} == {("succeeded", 1)}
    assert partner.counts() == dict.fromkeys(ids, 1)
