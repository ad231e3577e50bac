"""``benchmarks.textbook`` as running processes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import redis

from benchmarks.processes import send_signal
from benchmarks.receiver import address_sql
from benchmarks.sides import PAYLOAD, Side, connect
from tests.support.ledger import REPOSITORY
from tests.support.servers import MariaDB, Valkey, free_port, listens
from tests.support.system import GRANIAN
from tests.support.waiting import wait_until

# Messages that are put into the broker at once.
MESSAGE_BATCH = 5000


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
        """End its processes; once more does nothing."""
        if not self.processes:
            return
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
        self.processes.clear()


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
