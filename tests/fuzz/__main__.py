"""``python -m tests.fuzz [--examples 200] [--seed 1]``: thousands of requests from the OpenAPI document, on private servers."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import answered, fuzz, prepare
from tests.support.servers import MariaDB
from tests.support.system import FullSystem


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="for each operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="notifier-fuzz-") as name:
        mariadb = MariaDB(Path(name))
        mariadb.start()
        try:
            system = FullSystem(Path(name), mariadb.url("notifier"), NOTIFIER_ACCEPT_RATE_PER_SECOND=1_000_000)
            try:
                done = fuzz(system, prepare(system), examples=given.examples, seed=given.seed)
                sys.stdout.write(done.stdout + done.stderr)
                statuses = ", ".join(f"{status}: {count}" for status, count in sorted(answered(system).items()))
                sys.stdout.write(f"answers of web: {statuses}\n")
                unexpected = system.log("web").count("unexpected error")
                sys.stdout.write(f"unexpected errors in the log of web: {unexpected}\n")
            finally:
                system.stop()
                system.valkey.stop()
        finally:
            mariadb.stop()
    return done.returncode or int(unexpected > 0)


sys.exit(main())
