"""The two that are compared, each with its own database on one server and its own queue on one broker."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import MySQLdb
import redis
from celery import Celery

from benchmarks.processes import send_signal
from benchmarks.receiver import address, address_sql
from benchmarks.rows import FRESH_TASK, TASKS, UNTRIED, copy_rows
from tests.support.client import Answer
from tests.support.ledger import REPOSITORY
from tests.support.servers import MariaDB, Valkey, free_port, listens
from tests.support.system import GRANIAN, System
from tests.support.waiting import wait_until

PAYLOAD = "x" * 1024
DENSE, SPARSE = 20, 5000
# A message of the recipe carries its row's key; of so many rows at most there are messages in the broker at once.
MESSAGE_BATCH = 5000


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
        self.execute("INSERT INTO bench_template SELECT * FROM notifier_notificationtask WHERE task_id = %s", [task_id])

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
        return len(self.execute("SELECT 1 FROM notifier_notificationtask WHERE finished_at IS NULL LIMIT 1"))

    def delivered(self) -> int:
        return int(self.execute("SELECT COUNT(*) FROM notifier_notificationtask WHERE status = 'succeeded'")[0][0])

    def clear(self) -> None:
        self._truncate("notifier_notificationattempt", "notifier_notificationlabel", "notifier_notificationtask")

    def start_second_worker(self) -> None:
        self.system.start_worker("worker2")

    def stop_worker(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def stop(self) -> None:
        self.thaw()
        self.database.close()
        self.system.stop()


class Recipe(Side):
    """``benchmarks.textbook``, on the same servers and by the same web server with the same options."""

    name = "recipe"
    accepted_status = 201
    path = "/notify"
    queue = "textbook"

    def __init__(
        self, folder: Path, mariadb: MariaDB, valkey: Valkey, partner_port: int, partners: int, *, tuned: bool = False
    ) -> None:
        name = "textbook_tuned" if tuned else "textbook"
        self.folder = folder / name
        self.folder.mkdir()
        self.partner_port = partner_port
        self.port = free_port()
        self.processes = {}
        self.headers = {"Content-Type": "application/json"}
        broker = valkey.url.rpartition("/")[0] + ("/2" if tuned else "/1")
        self.broker = redis.Redis.from_url(broker)
        self.database = connect(mariadb, name)
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "benchmarks.textbook.settings",
            "DATABASE_URL": mariadb.url(name),
            "CELERY_BROKER_URL": broker,
            "DJANGO_SUPERUSER_PASSWORD": "only-for-benchmarks",
            "TEXTBOOK_TUNED": "1" if tuned else "0",
        }
        self._run("django", "migrate", "--run-syncdb", "--verbosity", "0")
        self.execute(
            "INSERT INTO textbook_partner (name) "
            f"SELECT CONCAT('partner-', LPAD(seq, 5, '0')) FROM seq_0_to_{partners - 1}"
        )
        self._run("django", "createsuperuser", "--noinput", "--username", "bench", "--email", "bench@example.com")
        self._run("django", "drf_create_token", "bench")
        self.headers["Authorization"] = "Token " + self.execute("SELECT `key` FROM authtoken_token")[0][0]
        self._start("web", "granian", *GRANIAN, "--port", str(self.port), "benchmarks.textbook.wsgi:application")
        wait_until(lambda: listens(self.port), seconds=60, what="the recipe's web process")

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def _start(self, role: str, *command: str) -> None:
        with (self.folder / f"{role}.log").open("ab") as log:
            self.processes[role] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip

    def start_worker(self, pool: str, concurrency: int) -> None:
        """A worker with this pool, in place of the one before."""
        if (before := self.processes.pop("worker", None)) is not None:
            send_signal([before], signal.SIGCONT)
            before.send_signal(signal.SIGTERM)
            try:
                before.wait(15)
            except subprocess.TimeoutExpired:
                send_signal([before], signal.SIGKILL)
                before.wait(10)
        log = self.folder / "worker.log"
        log.unlink(missing_ok=True)
        self._start(
            "worker", "celery", "-A", "benchmarks.textbook.celery", "worker", "--without-gossip", "--without-mingle",
            "--pool", pool, "--concurrency", str(concurrency), "--loglevel", "INFO", "-n", "recipe@bench",
        )  # fmt: skip
        wait_until(lambda: " ready." in log.read_text(), seconds=60, what=f"the recipe's worker ({log})")

    def item(self, partner: int, path: str) -> dict[str, Any]:
        return {
            "partner": f"partner-{partner:05}",
            "target_url": self.url(partner, path),
            "headers": {"Content-Type": "application/json"},
            "body": PAYLOAD,
        }

    def fill(self, rows: int, partners: int, path: str) -> None:
        before = self.execute("SELECT COALESCE(MAX(id), 0) FROM textbook_notification")[0][0]
        self.execute(
            "INSERT INTO textbook_notification "
            "(partner_id, target_url, method, headers, body, status, attempts, created_at, updated_at) "
            f"SELECT p.id, CONCAT('http://', {address_sql(f'n.seq MOD {partners}')}, %s), 'POST', '{{}}', %s, 'pending', 0, "
            f"UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM seq_1_to_{rows} n JOIN textbook_partner p "
            f"ON p.name = CONCAT('partner-', LPAD(n.seq MOD {partners}, 5, '0')) ORDER BY n.seq",
            [f":{self.partner_port}{path}", PAYLOAD],
        )
        keys = [key for (key,) in self.execute("SELECT id FROM textbook_notification WHERE id > %s", [before])]
        for start in range(0, len(keys), MESSAGE_BATCH):
            self.broker.lpush(self.queue, *(_message(key) for key in keys[start : start + MESSAGE_BATCH]))

    def unfinished(self) -> int:
        return len(self.execute("SELECT 1 FROM textbook_notification WHERE status = 'pending' LIMIT 1"))

    def clear(self) -> None:
        self.broker.flushdb()
        self._truncate("textbook_attempt", "textbook_notification")

    def stop(self) -> None:
        self.thaw()
        self.database.close()
        self.broker.close()
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                send_signal([process], signal.SIGKILL)
                process.wait(10)


def _message(key: int) -> str:
    """What ``deliver.delay(key)`` puts into Redis (Celery's message protocol 2)."""
    task = str(uuid.uuid4())
    body = json.dumps([[key], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py", "task": "benchmarks.textbook.tasks.deliver", "id": task, "shadow": None, "eta": None,
                "expires": None, "group": None, "group_index": None, "retries": 0, "timelimit": [None, None],
                "root_id": task, "parent_id": None, "argsrepr": f"({key},)", "kwargsrepr": "{}", "origin": "bench",
                "ignore_result": True, "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
            },
            "properties": {
                "correlation_id": task, "reply_to": task, "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "textbook"}, "priority": 0,
                "body_encoding": "base64", "delivery_tag": str(uuid.uuid4()),
            },
        }
    )  # fmt: skip
