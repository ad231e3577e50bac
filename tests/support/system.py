"""The whole service as processes: web, worker and beat against real servers, or all of it as `make run` starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb
import yaml

from tests.support.client import Client
from tests.support.ledger import REPOSITORY
from tests.support.servers import Valkey, free_port
from tests.support.waiting import wait_until

SECRET = "only-for-tests-" + "x" * 50
GRANIAN = ["--interface", "wsgi", "--host", "127.0.0.1", "--workers", "1", "--blocking-threads", "4", "--no-ws"]
BEAT = ("celery", "-A", "config.celery", "beat")


def web_command(port: int) -> tuple[str, ...]:
    return ("granian", *GRANIAN, "--port", str(port), "config.wsgi:application")


def worker_command(name: str) -> tuple[str, ...]:
    return ("celery", "-A", "config.celery", "worker", "--without-gossip", "--without-mingle", "-n", f"{name}@tests")


class System:
    """Web, worker and beat, each a process with its own log under ``folder``."""

    def __init__(self, folder: Path, *, database_url: str, broker_url: str, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.environment = os.environ | {
            "NOTIFIER_SECRET_KEY": SECRET,
            "NOTIFIER_DATA_DIR": str(folder),
            "DATABASE_URL": database_url,
            "CELERY_BROKER_URL": broker_url,
            **{name: str(value) for name, value in settings.items()},
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.manage("migrate", "--verbosity", "0")
        printed = self.manage(
            "create_api_key", "tests", "--scope", "notify:write", "--scope", "notify:read", "--scope", "notify:operate"
        )
        self.client = Client(self.port, printed.splitlines()[-1].strip())

    def manage(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """Run manage.py; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY, env=self.environment | environment, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply_partners(self, **partners: dict[str, Any]) -> None:
        file = self.folder / "partners.yaml"
        file.write_text(yaml.safe_dump({"partners": partners}))
        self.manage("apply_partners", str(file))

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            # A group of its own: a web process and its child can be killed or frozen together.
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def start_web(self) -> None:
        self.start("web", *web_command(self.port))
        wait_until(self._answers, seconds=30, what=f"the web process to answer (see {self.folder}/web.log)")

    def start_worker(self, name: str = "worker") -> subprocess.Popen[bytes]:
        return self.start(name, *worker_command(name))

    def worker(self) -> subprocess.Popen[bytes]:
        """The worker that was started last and runs."""
        running = [
            process for name, process in self.processes.items() if name.startswith("worker") and process.poll() is None
        ]
        return running[-1]

    def start_beat(self, name: str = "beat") -> subprocess.Popen[bytes]:
        return self.start(name, *BEAT)

    def start_all(self) -> None:
        self.start_worker()
        self.start_beat()
        self.start_web()
        wait_until(self._swept, seconds=60, what=f"the first sweep (see {self.folder}/worker.log)")

    def _answers(self) -> bool:
        try:
            return self.client.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def _swept(self) -> bool:
        answer = self.client.request("GET", "/readyz")
        return answer.status == 200 and answer.body["status"] == "ok"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        self.client.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


class FullSystem(System):
    """A system on a database of its own, on the server that ``server_url`` names, and on a Valkey of its own."""

    def __init__(self, folder: Path, server_url: str, **settings: Any) -> None:
        self.valkey = Valkey(folder)
        self.valkey.start()
        server = urlsplit(server_url)
        self.database = name = f"e2e_{self.valkey.port}"
        self._server = {
            "host": server.hostname or "127.0.0.1", "port": server.port or 3306,
            "user": server.username or "root", "password": server.password or "",
        }  # fmt: skip
        connection = MySQLdb.connect(**self._server)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        connection.close()
        database_url = server._replace(path=f"/{name}").geturl()
        super().__init__(folder / "system", database_url=database_url, broker_url=self.valkey.url, **settings)

    def sql(self) -> Any:
        """A connection to the system's database, beside those of its processes."""
        return MySQLdb.connect(**self._server, database=self.database, autocommit=True, charset="utf8mb4")

    def stop(self) -> None:
        super().stop()
        self.valkey.stop()
