"""The system under test: MariaDB, Valkey, two web, worker and beat processes each, a proxy before whatever is connected to."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import MySQLdb

from tests.chaos import partners
from tests.chaos.ledger import Attempt, Task
from tests.chaos.operated import Operated
from tests.support.compose import create_database
from tests.support.servers import MariaDB, Valkey, listens
from tests.support.system import BEAT, System, web_command, worker_command
from tests.support.waiting import wait_until

LEASE_SECONDS = 6.0
MAX_TIMEOUT_SECONDS = 3.0
DATABASE = "chaos"
# Below the ports that the kernel gives to outgoing connections: who is down for seconds finds its port free again.
PORTS = range(20_000, 32_000)
_given: set[int] = set()


def fixed_ports(count: int) -> list[int]:
    """So many ports of this machine that nobody uses, and that were not given to anybody here before."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)
        if port in _given or listens(port):
            continue
        _given.add(port)
        found.append(port)
    return found


@dataclass(frozen=True, slots=True)
class Crash:
    """A process of ours that ended though nobody had ended it."""

    name: str
    exit_code: int
    at: float
    last_words: str


class House(System):
    """Everything that can be broken. Its processes run again within a moment of their end, as under a supervisor."""

    def __init__(self, folder: Path) -> None:
        database, broker, *fronts = fixed_ports(6)
        self.mariadb = MariaDB(folder)
        self.mariadb.port = database
        self.mariadb.start()
        self.valkey = Valkey(folder)
        self.valkey.port = broker
        self.valkey.start()
        self.webs = {"web-1": fronts[2], "web-2": fronts[3]}
        behind = dict(zip(self.webs, fixed_ports(len(self.webs)), strict=True))
        routes = {fronts[0]: database, fronts[1]: broker} | {self.webs[name]: behind[name] for name in self.webs}
        self.proxy = Operated(
            "tests.chaos.proxy", *(f"{port}:{target}" for port, target in routes.items()), log=folder / "proxy.log"
        )
        self._server_url = self.mariadb.url(DATABASE)
        create_database(self.mariadb.url(""), DATABASE)
        super().__init__(
            folder / "system",
            database_url=f"mysql://root@127.0.0.1:{fronts[0]}/{DATABASE}",
            broker_url=f"redis://127.0.0.1:{fronts[1]}/0",
            NOTIFIER_LEASE_SECONDS=LEASE_SECONDS,
            NOTIFIER_MAX_TIMEOUT_SECONDS=MAX_TIMEOUT_SECONDS,
        )
        self.port = self.webs["web-1"]
        self.key = self.client.key
        self.client = self.client.at(self.port)
        self.commands = (
            {name: web_command(behind[name]) for name in self.webs}
            | {name: worker_command(name) for name in ("worker-1", "worker-2")}
            | dict.fromkeys(("beat-1", "beat-2"), BEAT)
        )
        self.crashes: list[Crash] = []
        self._lock = threading.Lock()
        self._down: set[str] = set()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def begin(self) -> None:
        """Start everything, and wait until all of it works."""
        self.apply_partners(**partners.configuration())
        for name, command in self.commands.items():
            self.start(name, *command)
        wait_until(lambda: all(listens(port) for port in self._web_ports()), seconds=60, what="the web processes")
        wait_until(self._swept, seconds=60, what=f"the first sweep (see {self.folder}/worker-1.log)")
        self._watcher.start()

    def _web_ports(self) -> list[int]:
        return [int(command[command.index("--port") + 1]) for command in self.commands.values() if "--port" in command]

    def _swept(self) -> bool:
        try:
            return super()._swept()
        except (OSError, ValueError):
            return False

    # --- what faults do to our own processes ---

    def kill(self, names: Collection[str]) -> None:
        """SIGKILL them, with their children; they stay down until ``restart``."""
        with self._lock:
            for name in names:
                self._down.add(name)
                self._signal(name, signal.SIGKILL)
            for name in names:
                self.processes[name].wait(30)

    def restart(self, names: Collection[str]) -> None:
        with self._lock:
            for name in names:
                self.start(name, *self.commands[name])
                self._down.discard(name)

    def freeze(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, sign: signal.Signals) -> None:
        process = self.processes[name]
        if process.poll() is None:
            os.killpg(process.pid, sign)

    def _watch(self) -> None:
        """The supervisor: whatever ends by itself is written down and started again."""
        while not self._stopping.wait(0.1):
            with self._lock:
                for name, process in list(self.processes.items()):
                    if name in self._down or process.poll() is None:
                        continue
                    words = self.log(name)[-3000:]
                    self.crashes.append(Crash(name, process.returncode, time.time(), words))
                    self.start(name, *self.commands[name])

    # --- what the tables say, asked past the proxy ---

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = MySQLdb.connect(host="127.0.0.1", port=self.mariadb.port, user="root", database=DATABASE)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def unfinished(self) -> int:
        ((count,),) = self._query("SELECT COUNT(*) FROM notifier_notificationtask WHERE outcome IS NULL")
        return int(count)

    def tasks(self) -> list[Task]:
        """Every notification with its attempts."""
        attempts: dict[int, list[Attempt]] = defaultdict(list)
        for key, number, status, code, at in self._query(
            "SELECT task_id, attempt_no, status, error_code, UNIX_TIMESTAMP(CONVERT_TZ(created_at, '+00:00', @@time_zone))"
            " FROM notifier_notificationattempt ORDER BY task_id, attempt_no"
        ):
            attempts[key].append(Attempt(number=number, status=status, error_code=code, at=float(at)))
        return [
            Task(
                id=str(uuid.UUID(str(task_id))),
                partner=partner,
                path="/" + url.split("/", 3)[3],
                status=status,
                dead_reason=reason,
                attempt_count=count,
                attempts=tuple(attempts[key]),
            )
            for key, task_id, partner, url, status, reason, count in self._query(
                "SELECT t.id, t.task_id, p.partner_id, t.target_url, t.status, t.dead_reason, t.attempt_count"
                " FROM notifier_notificationtask t JOIN notifier_partner p ON p.id = t.partner_id"
            )
        ]

    # --- the end ---

    def end_processes(self) -> dict[str, int | None]:
        """SIGTERM to all of ours, frozen ones too; returns their exit codes, None for one that had to be killed."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join(10)
        self.client.close()
        codes: dict[str, int | None] = {}
        for name in self.processes:
            self._signal(name, signal.SIGCONT)
            self.processes[name].terminate()
        for name, process in self.processes.items():
            try:
                codes[name] = process.wait(40)
            except subprocess.TimeoutExpired:
                codes[name] = None
            self._kill_group(process.pid)
            process.wait(10)
        return codes

    @staticmethod
    def _kill_group(leader: int) -> None:
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            return

    def stop(self) -> None:
        self.end_processes()
        self.proxy.close()
        for server in (self.valkey, self.mariadb):
            if server.process is not None and server.process.poll() is None:
                server.signal(signal.SIGCONT)
            server.stop()
