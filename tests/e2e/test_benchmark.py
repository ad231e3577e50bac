"""The benchmarks run: a backlog that is put into the database arrives, at one worker and at two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ground import Receiver
from benchmarks.sides import WORKERS, Ours
from tests.support.servers import MariaDB, Valkey
from tests.support.waiting import wait_until

PARTNERS, ROWS = 4, 200


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, MariaDB, Valkey, Receiver]]:
    folder = tmp_path_factory.mktemp("benchmark")
    mariadb, valkey = MariaDB(folder), Valkey(folder)
    with contextlib.ExitStack() as stack:
        for server in (mariadb, valkey):
            server.start()
            stack.callback(server.stop)
        receiver = Receiver(folder, addresses=PARTNERS)
        stack.callback(receiver.stop)
        yield folder, mariadb, valkey, receiver


@pytest.fixture(scope="module")
def ours(servers: tuple[Path, MariaDB, Valkey, Receiver]) -> Iterator[Ours]:
    folder, mariadb, valkey, receiver = servers
    side = Ours(folder, mariadb, valkey, receiver.port, PARTNERS)
    try:
        side.wait_until_ready()
        yield side
    finally:
        side.stop()


def _drained(ours: Ours, receiver: Receiver, *workers: str) -> int:
    with ours.frozen(*workers):
        ours.clear()
        ours.fill(ROWS, PARTNERS, "/0")
        before = receiver.arrived
        assert ours.unfinished()
    wait_until(lambda: not ours.unfinished(), seconds=60, what="the backlog to be delivered")
    assert ours.delivered() == ROWS
    return receiver.arrived - before


def test_a_backlog_is_put_there_and_delivered_once(ours: Ours, servers: tuple[Path, MariaDB, Valkey, Receiver]) -> None:
    assert _drained(ours, servers[3], "worker") == ROWS


def test_a_second_worker_shares_it(ours: Ours, servers: tuple[Path, MariaDB, Valkey, Receiver]) -> None:
    ours.use_workers(2)
    first = ours.pids()
    ours.use_workers(2)
    assert ours.pids() == first
    assert _drained(ours, servers[3], *WORKERS) == ROWS

    ours.use_workers(1)

    assert set(ours.pids()) == {"web", "worker", "beat"}
