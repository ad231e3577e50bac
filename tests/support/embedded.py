"""`make run` as a process, with a data directory and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.ledger import REPOSITORY
from tests.support.waiting import wait_until

# Of the test's own environment these would reach the run, which is to find its own.
FOREIGN = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")
READY = "Ctrl-C ends everything"
DEMO_KEY = "ntf_demo_only-for-the-embedded-run"


class EmbeddedRun:
    """`python -m config.embedded` with a data directory and a port of its own."""

    def __init__(self, data_dir: Path, port: int, **settings: Any) -> None:
        self.data_dir = data_dir
        self.port = port
        self.output = data_dir.with_suffix(".out")
        own = {name: value for name, value in os.environ.items() if name not in FOREIGN and "NOTIFIER_" not in name}
        self.environment = own | {"NOTIFIER_DATA_DIR": str(data_dir), "PORT": str(port)}
        self.environment |= {name: str(value) for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.embedded"],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start_without_show(self) -> None:
        self.data_dir.mkdir()
        (self.data_dir / "showcase_done").touch()
        self.start()
        self.wait_until_ready(seconds=60)

    def said(self, words: str) -> bool:
        return words in self.output.read_text()

    def wait_until_ready(self, seconds: float) -> None:
        def ready_or_ended() -> bool:
            return self.said(READY) or (self.process is not None and self.process.poll() is not None)

        wait_until(ready_or_ended, seconds=seconds, what=f"the run to be ready; it says {self.output}")
        assert self.said(READY), self.output.read_text()

    def end(self, sign: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(sign)
        return self.process.wait(30)

    def other(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """A second call in the same environment."""
        return subprocess.run(
            [sys.executable, "-m", "config.embedded", *arguments],
            cwd=REPOSITORY,
            env=self.environment | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def broker_port(self) -> int:
        return int(urlsplit((self.data_dir / "broker_url").read_text()).port or 0)

    def processes(self, word: str = "") -> dict[int, str]:
        """Id and command line of all processes that have this run's data directory in their environment.

        Not Valkey: it writes its title over its environment.
        """
        mark = f"NOTIFIER_DATA_DIR={self.data_dir}\0".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes() + b"\0":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has ended, or is another user's
        return {number: command for number, command in found.items() if word in command}

    def get(self, path: str) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {DEMO_KEY}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()

    def tasks(self) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = json.loads(self.get("/v1/notify?partner_id=demo&limit=200")[1])["results"]
        return results
