"""MariaDB, Valkey, real web, worker and beat processes, and a real partner on the other side of a socket."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e import scenarios
from tests.support.ledger import PartnerSimulator
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

PARTNERS = [f"partner-{number}" for number in range(10)]


@pytest.fixture
def system(system: FullSystem) -> FullSystem:
    system.apply_partners(**dict.fromkeys(PARTNERS, scenarios.PARTNER))
    return system


def test_a_thousand_notifications_arrive_byte_for_byte_exactly_once(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    scenarios.everything_arrives_once(system.client, partner, PARTNERS, 1000)


def test_outcomes(system: FullSystem, partner: PartnerSimulator) -> None:
    scenarios.each_answer_has_its_outcome(system.client, partner, PARTNERS[0])
    scenarios.a_flaky_partner_is_retried_by_policy(system.client, partner, PARTNERS[1])
    scenarios.each_network_failure_has_its_code(system.client, partner, PARTNERS[2])


def test_one_key_posted_at_the_same_instant_is_one_task(system: FullSystem, partner: PartnerSimulator) -> None:
    scenarios.one_key_is_one_task(system.client, partner, PARTNERS[0], rounds=50, threads=8)


def _post_seconds(system: FullSystem, partner: PartnerSimulator, count: int) -> tuple[list[str], float]:
    """The ids, and the median time of a post."""
    ids, times = [], []
    for number in range(count):
        begun = time.perf_counter()
        ids.append(system.client.notify(partner_id=PARTNERS[number % 10], target_url=partner.url("/ok")))
        times.append(time.perf_counter() - begun)
    return ids, sorted(times)[count // 2]


def test_a_broker_that_hangs_slows_no_answer_and_stops_no_delivery(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    _, usual = _post_seconds(system, partner, 100)

    system.valkey.signal(signal.SIGSTOP)
    try:
        ids, hung = _post_seconds(system, partner, 100)
        # The workers sweep for themselves while beat's messages do not arrive.
        scenarios.ended(system.client, ids, seconds=10)
    finally:
        system.valkey.signal(signal.SIGCONT)

    assert {partner.counts()[task_id] for task_id in ids} == {1}
    # A publish that waited for the broker would take half a second.
    assert hung < 5 * usual
    wait_until(
        lambda: system.client.request("GET", "/readyz").body["status"] == "ok",
        seconds=20,
        what="beat's messages to be consumed again",
    )


def test_a_lost_broker_changes_neither_the_answer_nor_the_delivery(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    _, usual = _post_seconds(system, partner, 100)

    system.valkey.stop()
    ids, without = _post_seconds(system, partner, 100)
    system.valkey.start()
    back_at = time.monotonic()
    later = [system.client.notify(partner_id=PARTNERS[0], target_url=partner.url("/ok")) for _ in range(10)]

    wait_until(lambda: not set(ids + later) - set(partner.counts()), seconds=3, what="all to be delivered")
    assert time.monotonic() - back_at < 3
    scenarios.ended(system.client, ids + later, seconds=10)
    assert {partner.counts()[task_id] for task_id in ids + later} == {1}
    # A ratio with room for a busy machine; waiting for the broker's time-out would be a hundred times as long.
    assert without < 5 * usual
    # No restart of anything, and wakes go out again: without beat's messages only the substitute would sweep.
    assert all(process.poll() is None for process in system.processes.values())
    wait_until(
        lambda: (
            system.client.request("GET", "/readyz").body["checks"] == {"database": "ok", "broker": "ok", "beat": "ok"}
        ),
        seconds=20,
        what="beat's messages to be consumed again",
    )
