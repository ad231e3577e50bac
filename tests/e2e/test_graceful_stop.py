"""SIGTERM to each process under load: what is in flight ends, nothing is lost, nothing is done twice."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from tests.e2e import scenarios
from tests.support.ledger import PartnerSimulator
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

THREADS = 8


class Load:
    """Threads that post until they are told to stop, or the web process is gone."""

    def __init__(self, system: FullSystem, partner: PartnerSimulator, path: str) -> None:
        self.accepted: list[str] = []
        self.unanswered = 0
        self._system, self._url = system, partner.url(path)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._post) for _ in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.accepted) > 100, seconds=20, what="the load")
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _post(self) -> None:
        client = self._system.client.another()
        while not self._stopped.is_set():
            try:
                self.accepted.append(client.notify(partner_id="acme", target_url=self._url))
            except ConnectionRefusedError:
                break  # it listens no more
            except (http.client.HTTPException, OSError):
                self.unanswered += 1
        client.close()


@pytest.fixture
def system(system: FullSystem) -> Iterator[FullSystem]:
    system.apply_partners(acme=scenarios.PARTNER)
    yield system
    if system.processes["web"].poll() is not None:
        system.start_web()


def _rows(system: FullSystem, query: str) -> list[tuple[str, ...]]:
    connection = system.sql()
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows = list(cursor.fetchall())
    connection.close()
    return rows


def _stored(system: FullSystem) -> set[str]:
    return {str(task_id) for (task_id,) in _rows(system, "SELECT task_id FROM notifier_notificationtask")}


def test_web_answers_what_it_has_begun(system: FullSystem, partner: PartnerSimulator) -> None:
    before = _stored(system)
    with Load(system, partner, "/ok") as load:
        begun = time.monotonic()
        system.processes["web"].send_signal(signal.SIGTERM)
        assert system.processes["web"].wait(20) == 0
        assert time.monotonic() - begun < 10

    # Neither a 202 without its row, nor a row whose 202 never came.
    assert _stored(system) - before == set(load.accepted)
    system.start_web()
    tasks = scenarios.ended(system.client, load.accepted, seconds=30)
    assert {(task["status"], task["attempt_count"]) for task in tasks.values()} == {("succeeded", 1)}


def test_a_worker_leaves_nothing_leased_and_another_goes_on(system: FullSystem, partner: PartnerSimulator) -> None:
    leaving = system.worker()
    with Load(system, partner, "/slow/300") as load:
        wait_until(lambda: partner.counts().total() > 50, seconds=10, what="requests to be in flight")
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(20) == 0
        # At once: nothing waits for a lease to run out.
        assert _rows(system, "SELECT task_id FROM notifier_notificationtask WHERE status = 'running'") == []
        system.start_worker("worker-2")

    tasks = scenarios.ended(system.client, load.accepted, seconds=30)
    assert {(task["status"], task["attempt_count"]) for task in tasks.values()} == {("succeeded", 1)}
    assert partner.counts() == dict.fromkeys(load.accepted, 1)
    assert load.unanswered == 0


def test_beat_ends_at_once_and_its_successor_goes_on(system: FullSystem, partner: PartnerSimulator) -> None:
    beat = system.processes["beat"]

    with Load(system, partner, "/ok") as load:
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(10) == 0
        system.start_beat("beat-2")

    tasks = scenarios.ended(system.client, load.accepted, seconds=30)
    assert {(task["status"], task["attempt_count"]) for task in tasks.values()} == {("succeeded", 1)}
    wait_until(lambda: system.client.request("GET", "/readyz").body["status"] == "ok", seconds=20, what="the new beat")
