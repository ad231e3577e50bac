"""``python -m tests [pytest arguments]``: private servers for the run, then pytest.

DATABASE_URL (a MySQL server) and CELERY_BROKER_URL, where given, are used instead. Without arguments everything runs,
what writes the database on SQLite too, and the rules and the lifecycle must be covered to the last branch.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.servers import MariaDB, Valkey

SQLITE_TOO = ("tests/integration/lifecycle", "tests/integration/deliveries", "tests/integration/test_intake_race.py")
# Of all lines and branches; the web, worker and beat processes of the end-to-end tests do not count.
TOTAL_FLOOR = 90


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="notifier-tests-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        environment = os.environ | {
            "NOTIFIER_SECRET_KEY": os.environ.get("NOTIFIER_SECRET_KEY", "only-for-tests-" + "x" * 50),
            "NOTIFIER_DATA_DIR": str(folder / "data"),
            "NOTIFIER_TESTS_DIR": str(folder),
        }
        if "DATABASE_URL" not in os.environ:
            mariadb = MariaDB(folder)
            stack.callback(mariadb.stop)
            mariadb.start()
            environment["DATABASE_URL"] = mariadb.url("notifier")
        if "CELERY_BROKER_URL" not in os.environ:
            valkey = Valkey(folder)
            stack.callback(valkey.stop)
            valkey.start()
            environment["CELERY_BROKER_URL"] = valkey.url
        return _run(environment, sys.argv[1:]) if sys.argv[1:] else _run_all(environment, folder)


def _run(environment: dict[str, str], arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


def _run_all(environment: dict[str, str], folder: Path) -> int:
    environment["COVERAGE_FILE"] = str(folder / "coverage")
    coverage = ["--cov", "--cov-report="]
    on_mysql = _run(environment, [*coverage, "tests"])
    on_sqlite = environment | {"DATABASE_URL": f"sqlite:///{folder}/sqlite/notifier.sqlite3"}
    (folder / "sqlite").mkdir()
    sys.stdout.write("\nOn SQLite, what writes the database:\n")
    sys.stdout.flush()
    again = _run(on_sqlite, [*coverage, "--cov-append", *SQLITE_TOO])
    for packages, floor in (("*", TOTAL_FLOOR), ("notifier/policy/*,notifier/lifecycle/*", 100)):
        report = ["report", f"--include={packages}", f"--fail-under={floor}"]
        covered = subprocess.run([sys.executable, "-m", "coverage", *report], env=environment, check=False).returncode
        again = again or covered
    return on_mysql or again


sys.exit(main())
