"""The service on private servers, and backlogs put into its database by the ten thousand."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import MySQLdb

from benchmarks.rows import FRESH_TASK, TASKS, UNTRIED, copy_rows
from tests.support.ledger import PartnerSimulator
from tests.support.servers import MariaDB
from tests.support.system import FullSystem

LOOPBACK = {"allow_hosts": ["127.0.0.1:*"], "allow_private_cidrs": ["127.0.0.0/8"]}
# A database server's memory, as on a server of its own: with the tests' 256 MB the backlogs are read from the disk.
SERVER = ("--innodb-buffer-pool-size=3G", "--innodb-log-file-size=1G")


class Rig:
    """A running system and a connection to its database."""

    def __init__(self, folder: Path, mariadb: MariaDB, system: FullSystem) -> None:
        self.folder, self.system, self.mariadb = folder, system, mariadb
        self.database = MySQLdb.connect(host="127.0.0.1", port=mariadb.port, user="root", database=system.database)
        self.database.autocommit(True)

    def execute(self, sql: str, parameters: Any = None) -> list[Any]:
        with self.database.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def fill(self, template: str, url: str, *, each: int, partners: str) -> None:
        """So many copies of the task for each partner whose partner_id is LIKE that, due now."""
        copy_rows(
            self.database,
            TASKS,
            {**FRESH_TASK, **UNTRIED, "partner_id": "p.id", "target_url": "%s"},
            source=f"notifier_partner p, seq_1_to_{each} n",
            where="c.task_id = %s AND p.partner_id LIKE %s",
            parameters=[url, template.replace("-", ""), partners],
        )


@contextlib.contextmanager
def rig(**settings: Any) -> Iterator[Rig]:
    """A system whose processes are not started yet; ended, with all its servers, at the end."""
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        mariadb = MariaDB(folder, *SERVER)
        mariadb.start()
        stack.callback(mariadb.stop)
        system = FullSystem(
            folder, mariadb.url("notifier"), **{"NOTIFIER_ACCEPT_RATE_PER_SECOND": 1_000_000, **settings}
        )
        stack.callback(system.stop)
        yield Rig(folder, mariadb, system)


@contextlib.contextmanager
def simulator(folder: Path, *, ledger: bool = False) -> Iterator[PartnerSimulator]:
    running = PartnerSimulator(folder, ledger=ledger)
    try:
        yield running
    finally:
        running.stop()
