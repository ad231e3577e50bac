"""The same scenarios against `make run`: SQLite, an embedded Valkey, and a supervisor that restarts what dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e import scenarios
from tests.support.client import Client
from tests.support.embedded import DEMO_KEY, EmbeddedRun
from tests.support.ledger import PartnerSimulator
from tests.support.servers import free_port, listens
from tests.support.waiting import wait_until

PARTNERS = [f"partner-{number}" for number in range(10)]


@pytest.fixture
def run(folder: Path) -> Iterator[EmbeddedRun]:
    run = EmbeddedRun(folder / "var", free_port(), NOTIFIER_LEASE_SECONDS=8, NOTIFIER_MAX_TIMEOUT_SECONDS=5)
    try:
        run.start_without_show()
        file = folder / "partners.yaml"
        slow = {"slow": scenarios.PARTNER | {"timeout_seconds": 3}}
        file.write_text(yaml.safe_dump({"partners": dict.fromkeys(PARTNERS, scenarios.PARTNER) | slow}))
        applied = run.other("manage", "apply_partners", str(file))
        assert applied.returncode == 0, applied.stderr
        yield run
    finally:
        if run.process is not None and run.process.poll() is None:
            run.end(signal.SIGTERM)


@pytest.fixture
def client(run: EmbeddedRun) -> Iterator[Client]:
    client = Client(run.port, DEMO_KEY)
    yield client
    client.close()


def test_two_hundred_arrive_byte_for_byte_exactly_once(client: Client, partner: PartnerSimulator) -> None:
    scenarios.everything_arrives_once(client, partner, PARTNERS, 200)


def test_outcomes(client: Client, partner: PartnerSimulator) -> None:
    scenarios.each_answer_has_its_outcome(client, partner, PARTNERS[0])
    scenarios.a_flaky_partner_is_retried_by_policy(client, partner, PARTNERS[1])
    scenarios.each_network_failure_has_its_code(client, partner, PARTNERS[2])


def test_one_key_posted_at_the_same_instant_is_one_task(client: Client, partner: PartnerSimulator) -> None:
    scenarios.one_key_is_one_task(client, partner, PARTNERS[0], rounds=25, threads=8)


def test_a_lost_broker_and_a_killed_worker_lose_nothing(
    run: EmbeddedRun, client: Client, partner: PartnerSimulator
) -> None:
    (worker,) = run.processes("celery -A config.celery worker")
    broker = int(urlsplit((run.data_dir / "broker_url").read_text()).port or 0)

    os.kill(_listener(broker), signal.SIGKILL)
    ids = [client.notify(partner_id=PARTNERS[n % 10], target_url=partner.url("/ok")) for n in range(200)]
    scenarios.ended(client, ids, seconds=60)
    assert {partner.counts()[task_id] for task_id in ids} == {1}
    wait_until(lambda: listens(broker), seconds=20, what="the supervisor to start Valkey again")

    os.kill(worker, signal.SIGSTOP)
    slow = [client.notify(partner_id="slow", target_url=partner.url("/slow/2500")) for _ in range(50)]
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: set(slow) <= set(partner.counts()), seconds=20, what="all requests to be in flight")
    os.kill(worker, signal.SIGKILL)

    tasks = scenarios.ended(client, slow, seconds=60)
    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    statuses = [[attempt["status"] for attempt in client.attempts(task_id)] for task_id in slow]
    assert statuses == [["lease_expired", "succeeded"]] * 50
    assert {partner.counts()[task_id] for task_id in slow} == {2}


def _listener(port: int) -> int:
    """The process that listens on a loopback port."""
    wanted = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(wanted) and row[3] == "0A")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if any(os.readlink(fd) == f"socket:[{inode}]" for fd in (entry / "fd").iterdir()):
                    return int(entry.name)
            except OSError:
                continue  # it has ended, or is another user's
    raise AssertionError(f"nobody listens on {port}")
