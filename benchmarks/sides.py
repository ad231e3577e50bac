"""What is compared: ours here, the recipe in ``recipe``; each with its own database on one server, its own queue on one broker."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import MySQLdb
from celery import Celery

from benchmarks.processes import send_signal
from benchmarks.receiver import address, address_sql
from benchmarks.rows import FRESH_TASK, TASKS, UNTRIED, copy_rows
from tests.support.client import Answer
from tests.support.ledger import REPOSITORY
from tests.support.servers import MariaDB, Valkey
from tests.support.system import System
from tests.support.waiting import wait_until

PAYLOAD = "x" * 1024
DENSE, SPARSE = 20, 5000
WORKERS = ("worker", "worker2")


def connect(mariadb: MariaDB, name: str) -> Any:
    """A connection to a new database of that name."""
    connection = MySQLdb.connect(host="127.0.0.1", port=mariadb.port, user="root", autocommit=True, charset="utf8mb4")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    connection.select_db(name)
    return connection


class Side(ABC):
    """Web and worker processes, and what the scenarios do with them."""

    name: str
    accepted_status: int
    path: str
    headers: dict[str, str]
    port: int
    # The receiver's.
    partner_port: int

    processes: dict[str, subprocess.Popen[bytes]]
    database: Any

    def execute(self, sql: str, parameters: Any = None) -> list[Any]:
        with self.database.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def pids(self) -> dict[str, int]:
        """The processes by role; several workers are worker, worker2, …"""
        return {role: process.pid for role, process in self.processes.items() if process.poll() is None}

    def freeze(self, *roles: str) -> None:
        send_signal((self.processes[role] for role in roles or self.processes), signal.SIGSTOP)

    def thaw(self, *roles: str) -> None:
        send_signal((self.processes[role] for role in roles or self.processes), signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self, *roles: str) -> Iterator[None]:
        self.freeze(*roles)
        try:
            yield
        finally:
            self.thaw(*roles)

    def url(self, number: int, path: str) -> str:
        return f"http://{address(number)}:{self.partner_port}{path}"

    @abstractmethod
    def item(self, partner: int, path: str) -> dict[str, Any]:
        """The notification as it is posted."""

    def bodies(self, path: str, partners: int = DENSE) -> list[str]:
        return [json.dumps(self.item(number, path)) for number in range(partners)]

    @abstractmethod
    def fill(self, rows: int, partners: int, path: str) -> None:
        """A backlog, as if it had been posted: rows, and what the broker would hold."""

    @abstractmethod
    def unfinished(self) -> int:
        """How many wait, up to a bound."""

    @abstractmethod
    def clear(self) -> None:
        """No rows, nothing in the broker."""

    def _truncate(self, *tables: str) -> None:
        self.execute("SET foreign_key_checks = 0, lock_wait_timeout = 20")
        for table in tables:
            self.execute(f"TRUNCATE TABLE {table}")

    @abstractmethod
    def stop(self) -> None: ...


class Ours(Side):
    """The notifier, started by the commands of the tests, which are those of a production."""

    name = "ours"
    accepted_status = 202
    path = "/v1/notify"

    def __init__(self, folder: Path, mariadb: MariaDB, valkey: Valkey, partner_port: int, partners: int) -> None:
        self.partner_port = partner_port
        self.database_name = "notifier"
        self.database = connect(mariadb, self.database_name)
        self.system = System(folder / "ours", database_url=mariadb.url(self.database_name), broker_url=valkey.url)
        self.processes = self.system.processes
        self.port = self.system.port
        self.headers = {
            "Authorization": f"Bearer {self.system.client.key}",
            "Content-Type": "application/json",
        }
        self._celery = Celery(broker=valkey.url)
        self._make_partners(partners)
        self.system.start_worker()
        self.system.start_beat()
        self.system.start_web()

    def wait_until_ready(self) -> None:
        wait_until(self.ready, seconds=60, what="the first sweep")
        task_id = self.system.client.notify(**self.item(0, "/0"))
        wait_until(lambda: not self.unfinished(), seconds=30, what="the first delivery")
        self.execute("CREATE TABLE IF NOT EXISTS bench_template LIKE notifier_notificationtask")
        copy_rows(
            self.database, "bench_template", {}, template=TASKS, source="(SELECT 1) once", where="c.task_id = %s",
            parameters=[task_id],
        )  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """One request over a connection of its own: a kept one may have been closed meanwhile."""
        with contextlib.closing(self.system.client.another()) as client:
            return client.request(method, path, body)

    def ready(self) -> bool:
        answer = self.ask("GET", "/readyz")
        return answer.status == 200 and answer.body["status"] == "ok"

    def _make_partners(self, count: int) -> None:
        """One by the command, and copies of it: each may be reached at its own address."""
        allowed = {"allow_hosts": [f"{address(0)}:*"], "allow_private_cidrs": ["127.0.0.0/8"]}
        self.system.apply_partners(**{"partner-00000": allowed})
        (first,) = self.execute("SELECT id FROM notifier_partner")[0]
        changes = {
            "partner_id": "CONCAT('partner-', LPAD(s.seq, 5, '0'))",
            "allow_hosts": f"JSON_ARRAY(CONCAT({address_sql('s.seq')}, ':*'))",
        }
        copy_rows(self.database, "notifier_partner", changes, source=f"seq_1_to_{count - 1} s", where=f"c.id = {first}")
        copy_rows(
            self.database, "notifier_partnerstate", {"partner_id": "p.id"}, source="notifier_partner p",
            where=f"c.partner_id = {first} AND p.id <> {first}",
        )  # fmt: skip
        self.keys = [key for (key,) in self.execute("SELECT id FROM notifier_partner ORDER BY partner_id")]

    def item(self, partner: int, path: str) -> dict[str, Any]:
        return {
            "partner_id": f"partner-{partner:05}",
            "target_url": self.url(partner, path),
            "body_text": PAYLOAD,
            "headers": {"Content-Type": "application/json"},
        }

    def fill(self, rows: int, partners: int, path: str) -> None:
        changes = {
            **UNTRIED,
            **FRESH_TASK,
            "partner_id": "p.id",
            "target_url": f"CONCAT('http://', {address_sql('CAST(SUBSTRING(p.partner_id, 9) AS UNSIGNED)')}, %s)",
        }
        copy_rows(
            self.database, TASKS, changes, template="bench_template",
            source=f"notifier_partner p, seq_1_to_{rows // partners} n", where="p.partner_id < %s",
            parameters=[f":{self.partner_port}{path}", f"partner-{partners:05}"],
        )  # fmt: skip
        names = [f"partner-{number:05}" for number in range(partners)]
        for start in range(0, partners, 500):
            self._celery.send_task("deliveries.dispatch", args=[names[start : start + 500]], queue="notifier")

    def unfinished(self) -> int:
        return len(self.execute("SELECT 1 FROM notifier_notificationtask WHERE outcome IS NULL LIMIT 1"))

    def delivered(self) -> int:
        return int(self.execute("SELECT COUNT(*) FROM notifier_notificationtask WHERE status = 'succeeded'")[0][0])

    def clear(self) -> None:
        self._truncate("notifier_notificationattempt", "notifier_notificationlabel", "notifier_notificationtask")

    def use_workers(self, count: int) -> None:
        """So many worker processes from now on: one, or one for each of two cores (``WORKERS``)."""
        if count == 2 and "worker2" not in self.processes:
            self.system.start_worker("worker2")
            wait_until(lambda: self._pinged("worker2"), seconds=60, what="the second worker to be there")
        if count == 1 and (process := self.processes.pop("worker2", None)) is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def _pinged(self, worker: str) -> bool:
        """By a process, as an operator would: within a test's own, Celery's reply queue stays empty."""
        asked = [sys.executable, "-m", "celery", "-A", "config.celery", "inspect", "ping", "-d", f"{worker}@tests"]
        done = subprocess.run(
            asked, cwd=REPOSITORY, env=self.system.environment, capture_output=True, check=False, timeout=60
        )
        return done.returncode == 0

    def stop(self) -> None:
        self.thaw()
        self.database.close()
        self.system.stop()
