"""One run, from its lock to its end."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NoReturn, TextIO

from django.conf import settings

from config.embedded import places, programs, showcase
from config.embedded.client import Client, answers
from config.embedded.environment import ADMIN_NAME, Refused, broker_file
from config.embedded.ports import HOST, Ports, choose
from config.embedded.processes import Child, Processes, Program, fresh_log, last_lines, pause
from config.embedded.table import Table

START_SECONDS = 60.0
STOP_SECONDS = 9.0
POLL_SECONDS = 0.1
# In the data directory, once the samples have been sent.
SHOWN_MARKER = "showcase_done"


def say(text: str, *, to: TextIO | None = None) -> None:
    # A closed terminal or pipe is no reason not to end everything in order.
    with contextlib.suppress(OSError, ValueError):
        print(text, file=to or sys.stdout, flush=True)


class Run:
    """Reads its environment from ``os.environ``, and adds to it what its children need to know of each other."""

    def __init__(self, *, own_broker: bool) -> None:
        self._data_dir = Path(os.environ["NOTIFIER_DATA_DIR"])
        self._logs = self._data_dir / "logs"
        self._own_broker = own_broker
        self._demo_key: str = settings.NOTIFIER_DEMO_API_KEY  # loads the settings: bad ones are refused here

    def until_stopped(self) -> NoReturn:
        """Start everything and keep it running; ends by ``KeyboardInterrupt`` or ``Refused``, all processes gone."""
        with self._lock():
            ports = choose(os.environ)
            self._say_database()
            self._logs.mkdir(exist_ok=True)
            processes = Processes(os.environ, self._logs, say)
            try:
                self._start(processes, ports)
                if not (self._data_dir / SHOWN_MARKER).exists():
                    self._show(processes, ports)
                say(places.text(ports, self._demo_key, os.environ))
                while True:
                    processes.watch()
                    pause(POLL_SECONDS)
            finally:
                self._end(processes)

    def _end(self, processes: Processes) -> None:
        say("\nStopping.")
        try:
            processes.stop(STOP_SECONDS)
        finally:
            broker_file(self._data_dir).unlink(missing_ok=True)
            self._fold_log()
            say("Everything has ended.")

    def _fold_log(self) -> None:
        """Move what SQLite has in its log into the database file, so that this one file is all the data."""
        database = settings.DATABASES["default"]
        if database["ENGINE"].endswith("sqlite3") and Path(database["NAME"]).exists():
            with contextlib.closing(sqlite3.connect(database["NAME"], timeout=1.0)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Two runs on one database would be two of everything. The kernel gives the lock back, however this ends."""
        with (self._data_dir / "run.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise Refused(
                    f"Another run (process {file.read().strip() or 'unknown'}) uses {self._data_dir}; stop it, or set "
                    "NOTIFIER_DATA_DIR and PORT to others."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _say_database(self) -> None:
        is_mysql = settings.DATABASES["default"]["ENGINE"].endswith("mysql")
        try:
            importlib.import_module("MySQLdb")
        except ImportError as error:
            if is_mysql:
                raise Refused(f"DATABASE_URL names a MySQL database, but mysqlclient is not usable: {error}.") from None
            say("mysqlclient is not installed, so this run goes without MySQL.")
        say(f"Starting on {'the database of DATABASE_URL' if is_mysql else f'SQLite in {self._data_dir}'} …")

    def _start(self, processes: Processes, ports: Ports) -> None:
        os.environ.setdefault("NOTIFIER_WORKER_METRICS_PORT", str(ports.worker_metrics))
        os.environ.setdefault("NOTIFIER_BEAT_METRICS_PORT", str(ports.beat_metrics))
        os.environ.setdefault("NOTIFIER_OWN_LISTENERS", f"localhost:{ports.web},localhost:{ports.flower}")
        os.environ["FLOWER_BASIC_AUTH"] = f"{ADMIN_NAME}:{os.environ['NOTIFIER_DEMO_ADMIN_PASSWORD']}"
        if self._own_broker:
            os.environ["CELERY_BROKER_URL"] = f"redis://{HOST}:{ports.valkey}/0"
            broker_file(self._data_dir).write_text(os.environ["CELERY_BROKER_URL"])
            processes.start(programs.valkey(ports, self._data_dir))
        processes.start(programs.simulator(ports))
        self._prepare()
        for program in (programs.web(ports), programs.worker(ports), programs.beat(), programs.flower(ports)):
            processes.start(program)
        deadline = time.monotonic() + START_SECONDS
        while not answers(ports.web):
            processes.watch()
            if time.monotonic() > deadline:
                raise Refused(f"The web process does not answer after {START_SECONDS:g} s; see {self._logs}/web.log.")
            pause(POLL_SECONDS)

    def _prepare(self) -> None:
        log = fresh_log(self._logs, "prepare")
        preparing = Child(Program("prepare", (sys.executable, "-m", "config.embedded.prepare"), 0), log)
        try:
            preparing.start(os.environ)
            if preparing.wait() != 0:
                reason = "".join(last_lines(log, 1)) or "it says nothing"
                raise Refused(f"The database cannot be prepared: {reason} (see {log})")
        finally:
            preparing.kill()

    def _show(self, processes: Processes, ports: Ports) -> None:
        say("The first start: sample notifications of all kinds, on their way to the partner simulator.\n")
        try:
            with Client(ports.web, self._demo_key) as client:
                sent = showcase.send(client, f"http://{HOST}:{ports.simulator}")
                (self._data_dir / SHOWN_MARKER).touch()
                if not showcase.follow(client, sent, Table(), processes.watch):
                    say(f"\nSome have not got that far in {showcase.FOLLOW_SECONDS:g} s; {self._logs} may say why.")
        except (OSError, HTTPException, showcase.CutShort) as error:
            say(f"\nThe show ends here: {error}.")
