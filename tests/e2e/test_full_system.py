"""MariaDB, Valkey, real web, worker and beat processes, and a real partner on the other side of a socket."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest
import redis

from config.celery import WORKER_SOCKET_SECONDS
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


def _delivered_seconds(system: FullSystem, partner: PartnerSimulator) -> float:
    """How long a delivery takes on this machine now, with everything there."""
    begun = time.monotonic()
    ids = {system.client.notify(partner_id=PARTNERS[0], target_url=partner.url("/ok")) for _ in range(10)}
    wait_until(lambda: ids <= set(partner.counts()), seconds=20, what="ten deliveries")
    return time.monotonic() - begun


def test_a_lost_broker_changes_neither_the_answer_nor_the_delivery(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    _, usual = _post_seconds(system, partner, 100)
    delivering = _delivered_seconds(system, partner)

    system.valkey.stop()
    ids, without = _post_seconds(system, partner, 100)
    system.valkey.start()
    back_at = time.monotonic()
    later = [system.client.notify(partner_id=PARTNERS[0], target_url=partner.url("/ok")) for _ in range(10)]

    # Of our own, the substitute's sweep is the slowest: two intervals. The rest is the machine's.
    wait_until(
        lambda: not set(ids + later) - set(partner.counts()), seconds=3 + 3 * delivering, what="all to be delivered"
    )
    assert time.monotonic() - back_at < 3 + 3 * delivering
    scenarios.ended(system.client, ids + later, seconds=10)
    assert {partner.counts()[task_id] for task_id in ids + later} == {1}
    # A ratio with room for a busy machine; waiting for the broker's time-out would be a hundred times as long.
    assert without < 5 * usual
    _wakes_are_consumed(system)


def _wakes_are_consumed(system: FullSystem) -> None:
    """No restart of anything, and wakes go out again: without beat's messages only the substitute would sweep."""
    assert {name: process.poll() for name, process in system.processes.items()} == dict.fromkeys(system.processes)
    wait_until(
        lambda: (
            system.client.request("GET", "/readyz").body["checks"] == {"database": "ok", "broker": "ok", "beat": "ok"}
        ),
        seconds=20,
        what="beat's messages to be consumed again",
    )


def test_a_broker_that_dies_again_and_again_amid_its_messages_ends_no_worker(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    posted: list[str] = []
    stopped = threading.Event()

    def post() -> None:
        mine = system.client.another()
        while not stopped.is_set():
            posted.append(mine.notify(partner_id=PARTNERS[len(posted) % 10], target_url=partner.url("/ok")))
        mine.close()

    poster = threading.Thread(target=post)
    poster.start()
    try:
        for _ in range(8):
            _messages_flow(system, posted)
            system.valkey.stop(signal.SIGKILL)
            system.valkey.start()
            # Its connections are lost once more while the worker makes new ones, and its queue with them.
            _command(system, "CLIENT KILL", "TYPE", "normal")
            _command(system, "FLUSHALL")
        _messages_flow(system, posted)
    finally:
        stopped.set()
        poster.join(30)

    tasks = scenarios.ended(system.client, posted, seconds=20)
    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    assert partner.counts() == dict.fromkeys(posted, 1)
    _wakes_are_consumed(system)


def _waits_at_its_queue(system: FullSystem) -> bool:
    clients = _command(system, "CLIENT LIST")
    return _command(system, "LLEN", "notifier") == 0 and any(client["cmd"] == "brpop" for client in clients)


def _messages_flow(system: FullSystem, posted: list[str]) -> None:
    """The worker waits at its queue again, and takes what comes."""
    before = len(posted)
    wait_until(
        lambda: len(posted) > before + 20 and _waits_at_its_queue(system),
        seconds=20,
        what="messages to be consumed",
    )


def test_a_broker_that_hangs_for_longer_than_a_worker_waits_for_it_leaves_no_worker_deaf(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    begun = time.monotonic()
    system.valkey.signal(signal.SIGSTOP)
    try:
        ids = [system.client.notify(partner_id=PARTNERS[0], target_url=partner.url("/ok")) for _ in range(10)]
        wait_until(
            lambda: time.monotonic() > begun + WORKER_SOCKET_SECONDS + 1, seconds=20, what="the worker's time-out"
        )
        scenarios.ended(system.client, ids, seconds=10)
    finally:
        system.valkey.signal(signal.SIGCONT)

    wait_until(lambda: _waits_at_its_queue(system), seconds=10, what="the worker to wait for messages")
    _wakes_are_consumed(system)
    assert {partner.counts()[task_id] for task_id in ids} == {1}


def _command(system: FullSystem, *words: str) -> Any:
    with redis.Redis(port=system.valkey.port) as connection:
        return connection.execute_command(*words)
