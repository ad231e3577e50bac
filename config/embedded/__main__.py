"""`make run`: the whole notifier on one machine, until Ctrl-C. `manage ARGS…` runs manage.py in the same environment."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from config.embedded.environment import REPOSITORY, Refused, run_environment
from config.embedded.processes import STOP_SIGNALS
from config.embedded.run import Run, say
from config.limits import allow_many_files, end_with_parent


def manage(arguments: list[str]) -> NoReturn:
    environment = run_environment(os.environ)
    os.chdir(REPOSITORY)
    os.execve(sys.executable, [sys.executable, "manage.py", *arguments], environment)  # noqa: S606 - our own


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def run() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        own_broker = not os.environ.get("CELERY_BROKER_URL")
        os.environ.update(run_environment(os.environ))
        allow_many_files()
        Run(own_broker=own_broker).until_stopped()
    except KeyboardInterrupt:
        pass  # it was asked to end, and has


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m config.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=False)
    runs = commands.add_parser("run", help="start everything (the default)")
    runs.add_argument("--with-parent", action="store_true", help="end when the process that started this ends")
    manages = commands.add_parser("manage", help="run manage.py", add_help=False)
    manages.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        if options.command == "manage":
            manage(options.arguments)
        if options.command == "run" and options.with_parent:
            end_with_parent(os.getppid())
        run()
    except Refused as error:
        say(str(error), to=sys.stderr)
        return 1
    except ImproperlyConfigured as error:
        say(f"The configuration was refused: {error}", to=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
