"""What claim, sweep, accept, list pages and an idle prune cost at two million rows, against one thousand.

Both tables are in one server, filled alike, with the same partners; the measurements alternate between them. The large one
has 1,000,000 waiting rows (half of them not due yet, half of them one dead partner's) and 1,000,000 finished ones.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import MySQLdb

from benchmarks.rig import SERVER
from tests.support.servers import MariaDB, Valkey

DATABASES = ("small", "large")
# By name: how many rows (of each kind, partners, or rows in all), and what is measured.
CASES = {
    "sizes": (
        1_000_000,
        "what claim, sweep, accept, lists and an idle prune cost at so many waiting and so many finished rows",
    ),
    "sweep": (10_000, "what a sweep costs with so many partners, half of them with waiting rows"),
    "indexes": (300_000, "what each index costs on inserts, claims and records"),
    "drain": (100_000, "eight workers claim and record so many rows while one prunes: are there deadlocks"),
}


def run(case: str, *, rows: int) -> None:
    """``case``: a function of benchmarks.scale_cases. Each gets its own process, which reads the settings anew."""
    with servers() as environment:
        for database in DATABASES:
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, env=named(environment, database), check=True)
        command = [sys.executable, "-m", "benchmarks.scale_cases", case, str(rows)]
        ended = subprocess.run(command, env=named(environment, DATABASES[0]), check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)


def named(environment: Mapping[str, str], database: str) -> dict[str, str]:
    return {**environment, "DATABASE_URL": environment["DATABASE_URL"].replace("{database}", database)}


@contextlib.contextmanager
def servers() -> Iterator[dict[str, str]]:
    """A private MariaDB and Valkey, and the settings that lead to them; ``{database}`` stands for the database's name."""
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        mariadb, valkey = MariaDB(folder, *SERVER), Valkey(folder)
        for server in (mariadb, valkey):
            stack.callback(server.stop)
            server.start()
        server = MySQLdb.connect(host="127.0.0.1", port=mariadb.port, user="root")
        with contextlib.closing(server), server.cursor() as cursor:
            for database in DATABASES:
                cursor.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
        yield {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "NOTIFIER_SECRET_KEY": "only-for-benchmarks-" + "x" * 50,
            "NOTIFIER_ALLOWED_HOSTS": "testserver",
            "NOTIFIER_DATA_DIR": str(folder / "data"),
            "DATABASE_URL": mariadb.url("{database}"),
            "CELERY_BROKER_URL": valkey.url,
        }
