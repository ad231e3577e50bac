"""``python -m tests.chaos --minutes N --seed N``."""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import run, say


def interrupt(*_: object) -> None:
    """Ctrl-C, or a CI that gives up: everything is stopped in order, and not interrupted a second time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults against real processes.")
    parser.add_argument("--minutes", type=float, default=5, help="of load and faults; start and drain come on top")
    parser.add_argument(
        "--seed", type=int, help="the same seed gives the same load, answers and faults; default: random"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and ledgers of a run without breaches too")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    folder = Path(tempfile.mkdtemp(prefix="notifier-chaos-"))
    say(f"{options.minutes:g} minutes with seed {seed}; logs and ledgers are in {folder}")
    try:
        code = run(folder, minutes=options.minutes, seed=seed)
    except KeyboardInterrupt:
        say("Interrupted; everything has been stopped.")
        code = 130
    if options.keep or code == 1:
        shutil.rmtree(folder / "mariadb", ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


sys.exit(main())
