"""MariaDB killed, frozen, out of connections and out of space, while web, worker and beat run."""

from __future__ import annotations

import contextlib
import http.client
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import MySQLdb
import pytest

from tests.e2e import scenarios
from tests.e2e.conftest import QUICK
from tests.support.client import Answer
from tests.support.ledger import PartnerSimulator
from tests.support.servers import MariaDB
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

# Short, so that an outage that outlasts all of them ends within a test's patience.
LIMITS = {"NOTIFIER_WEB_DATABASE_TIMEOUT_SECONDS": 1, "NOTIFIER_DATABASE_TIMEOUT_SECONDS": 2}
# Until a server without an answer is found out: the first ping, and the connection that is tried after it.
FOUND_OUT_SECONDS = 1 + 1
QUICKLY_SECONDS = 1
TOO_MANY_CONNECTIONS = 1040


@dataclass(frozen=True)
class Outage:
    begin: Callable[[MariaDB], None]
    end: Callable[[MariaDB], None]


KILLED = Outage(lambda server: server.stop(signal.SIGKILL), lambda server: server.start())
FROZEN = Outage(lambda server: server.signal(signal.SIGSTOP), lambda server: server.signal(signal.SIGCONT))

FULL_AT_64_MEGABYTES = ("--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:64M")
FULL_AT_512_MEGABYTES = ("--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:512M")


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    # One file for all tables, which cannot grow beyond that: what a full disk is like.
    server = MariaDB(tmp_path_factory.mktemp("database"), *FULL_AT_64_MEGABYTES)
    server.start()
    try:
        yield server
    finally:
        server.signal(signal.SIGCONT)
        server.stop()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB) -> Iterator[FullSystem]:
    running = FullSystem(tmp_path_factory.mktemp("system"), mariadb.url("notifier"), **QUICK, **LIMITS)
    try:
        running.start_all()
        running.apply_partners(acme=scenarios.PARTNER | {"timeout_seconds": 3})
        yield running
    finally:
        running.stop()


def _timed(system: FullSystem, method: str, path: str, body: object = None) -> tuple[Answer, float]:
    begun = time.monotonic()
    answer = system.client.request(method, path, body)
    return answer, time.monotonic() - begun


def _refused_quickly(system: FullSystem, fields: dict[str, str], *, within: float) -> None:
    answer, seconds = _timed(system, "POST", "/v1/notify", fields)
    assert (answer.status, answer.body["code"]) == (503, "database_unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert seconds < within


@pytest.mark.parametrize("outage", [pytest.param(KILLED, id="killed"), pytest.param(FROZEN, id="frozen")])
def test_an_outage_is_answered_quickly_and_survived_by_all(
    system: FullSystem, partner: PartnerSimulator, mariadb: MariaDB, outage: Outage
) -> None:
    processes = {name: process.pid for name, process in system.processes.items()}
    fields = {"partner_id": "acme", "target_url": partner.url("/ok")}
    before = [system.client.notify(**fields) for _ in range(20)]
    # Their answers come while there is no database, and their leases still hold when it is back.
    flying = [system.client.notify(partner_id="acme", target_url=partner.url("/slow/1500")) for _ in range(20)]
    wait_until(lambda: set(flying) <= set(partner.counts()), seconds=10, what="the requests to be in flight")
    begun = time.monotonic()

    outage.begin(mariadb)
    try:
        _refused_quickly(system, fields, within=FOUND_OUT_SECONDS + QUICKLY_SECONDS)
        for _ in range(20):
            _refused_quickly(system, fields, within=FOUND_OUT_SECONDS + QUICKLY_SECONDS)
        times = [_timed(system, "POST", "/v1/notify", fields)[1] for _ in range(50)]
        assert sorted(times)[25] < 0.2
        for path in ("/readyz", "/admin/", "/v1/notify"):
            answer, seconds = _timed(system, "GET", path)
            assert (answer.status, seconds < FOUND_OUT_SECONDS + QUICKLY_SECONDS) == (503, True), path
        assert system.client.request("GET", "/healthz").status == 200
        metrics, seconds = _timed(system, "GET", "/metrics")
        assert "notifier_database_up 0.0" in metrics.body
        assert seconds < FOUND_OUT_SECONDS + QUICKLY_SECONDS
        # Longer than every time-out of web and workers, and than the answers in flight take.
        wait_until(lambda: time.monotonic() > begun + 4, seconds=10, what="the outage to last")
    finally:
        outage.end(mariadb)

    wait_until(lambda: _accepts(system, fields), seconds=5, what="posts to be accepted again")
    after = [system.client.notify(**fields) for _ in range(20)]
    tasks = scenarios.ended(system.client, before + flying + after, seconds=15)
    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    # What came back during the outage was kept and recorded: nothing of it was sent twice.
    assert [tasks[task_id]["attempt_count"] for task_id in flying] == [1] * len(flying)
    counts = partner.counts()
    assert [counts[task_id] for task_id in flying + after] == [1] * (len(flying) + len(after))
    assert {name: process.pid for name, process in system.processes.items() if process.poll() is None} == processes
    wait_until(
        lambda: system.client.request("GET", "/readyz").body["status"] == "ok", seconds=20, what="all to be well"
    )


def _accepts(system: FullSystem, fields: dict[str, str]) -> bool:
    try:
        return system.client.request("POST", "/v1/notify", fields).status == 202
    except (http.client.HTTPException, OSError):
        return False


def test_what_outlives_its_lease_in_an_outage_is_swept_and_sent_again(
    system: FullSystem, partner: PartnerSimulator, mariadb: MariaDB
) -> None:
    flying = [system.client.notify(partner_id="acme", target_url=partner.url("/slow/1500")) for _ in range(10)]
    wait_until(lambda: set(flying) <= set(partner.counts()), seconds=10, what="the requests to be in flight")
    begun = time.monotonic()

    mariadb.signal(signal.SIGSTOP)
    wait_until(lambda: time.monotonic() > begun + QUICK["NOTIFIER_LEASE_SECONDS"] + 1, seconds=10, what="the leases")
    mariadb.signal(signal.SIGCONT)

    wait_until(lambda: system.client.request("GET", "/readyz").status == 200, seconds=10, what="the database")
    tasks = scenarios.ended(system.client, flying, seconds=15)
    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    counts = partner.counts()
    for task_id in flying:
        attempts = system.client.attempts(task_id)
        assert [attempt["attempt_no"] for attempt in attempts] == list(range(1, len(attempts) + 1))
        # Whichever came first, the late record or the sweep: every request has its attempt, and one of them succeeded.
        assert counts[task_id] == len(attempts)
        assert "succeeded" in {attempt["status"] for attempt in attempts}


def _all_connections(mariadb: MariaDB, system: FullSystem) -> list[Any]:
    """Take every connection that the server has, those of the system's processes too."""
    held = [system.sql()]
    with held[0].cursor() as cursor:
        cursor.execute("SET GLOBAL max_connections = 10")
        while True:
            mine = {connection.thread_id() for connection in held}
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user <> 'system user'")
            for (thread,) in cursor.fetchall():
                if thread not in mine:
                    with contextlib.suppress(MySQLdb.Error):  # it has ended by itself
                        cursor.execute(f"KILL {thread}")
            try:
                held.append(system.sql())
            except MySQLdb.OperationalError as error:
                if error.args[0] != TOO_MANY_CONNECTIONS:
                    raise
                cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user <> 'system user'")
                if cursor.fetchone() == (len(held),):
                    return held


def test_without_a_free_connection_posts_are_refused_and_everything_goes_on_afterwards(
    system: FullSystem, partner: PartnerSimulator, mariadb: MariaDB
) -> None:
    fields = {"partner_id": "acme", "target_url": partner.url("/ok")}
    flying = [system.client.notify(partner_id="acme", target_url=partner.url("/slow/1000")) for _ in range(10)]
    wait_until(lambda: set(flying) <= set(partner.counts()), seconds=10, what="the requests to be in flight")

    held = _all_connections(mariadb, system)
    try:
        for _ in range(10):
            _refused_quickly(system, fields, within=QUICKLY_SECONDS)
        assert system.client.request("GET", "/readyz").status == 503
    finally:
        for connection in reversed(held):
            with connection.cursor() as cursor:
                cursor.execute("SET GLOBAL max_connections = 150")
            connection.close()

    wait_until(lambda: _accepts(system, fields), seconds=5, what="posts to be accepted again")
    tasks = scenarios.ended(system.client, flying, seconds=15)
    assert {(task["status"], task["attempt_count"]) for task in tasks.values()} == {("succeeded", 1)}
    assert all(process.poll() is None for process in system.processes.values())


def test_with_its_disk_full_posts_are_refused_and_everything_goes_on_afterwards(
    system: FullSystem, partner: PartnerSimulator, mariadb: MariaDB
) -> None:
    # Not delivered until long after, so that the disk fills.
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # noqa: TID251 - the producer's own clock
    large = {"partner_id": "acme", "target_url": partner.url("/ok"), "body_text": "x" * 200_000, "deliver_at": later}
    accepted = [system.client.notify(partner_id="acme", target_url=partner.url("/slow/500")) for _ in range(10)]
    answer = system.client.request("POST", "/v1/notify", large)
    while answer.status == 202:
        answer = system.client.request("POST", "/v1/notify", large)

    assert (answer.status, answer.body["code"], answer.headers["retry-after"]) == (503, "database_unavailable", "5")
    assert "OperationalError 1114" in system.log("web")
    _refused_quickly(system, large, within=QUICKLY_SECONDS)
    assert all(process.poll() is None for process in system.processes.values())

    mariadb.stop()
    mariadb.options = FULL_AT_512_MEGABYTES
    mariadb.start()

    wait_until(lambda: _accepts(system, large), seconds=5, what="posts to be accepted again")
    accepted.append(system.client.notify(partner_id="acme", target_url=partner.url("/ok")))
    tasks = scenarios.ended(system.client, accepted, seconds=15)
    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    assert all(process.poll() is None for process in system.processes.values())
