"""``python -m tests [pytest arguments]``: private servers for the run, then pytest.

DATABASE_URL (a MySQL server) and CELERY_BROKER_URL, where given, are used instead.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.servers import MariaDB, Valkey


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
        return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment, check=False).returncode


sys.exit(main())
