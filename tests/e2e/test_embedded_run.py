"""`make run` as a person meets it: starts, shows, ends without a trace, starts again with everything in place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.servers import free_port, listens
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
# Of the test's own environment these would reach the run, which is to find its own.
FOREIGN = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")
READY = "Ctrl-C ends everything"
DEMO_KEY = "ntf_demo_only-for-the-embedded-run"


class EmbeddedRun:
    """`python -m config.embedded` with a data directory and a port of its own."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self.data_dir = data_dir
        self.port = port
        self.output = data_dir.with_suffix(".out")
        own = {name: value for name, value in os.environ.items() if name not in FOREIGN and "NOTIFIER_" not in name}
        self.environment = own | {"NOTIFIER_DATA_DIR": str(data_dir), "PORT": str(port)}
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
        wait_until(lambda: self.said(READY), seconds=seconds, what=f"the run to be ready; it says {self.output}")

    def end(self, sign: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(sign)
        return self.process.wait(10)

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


@pytest.fixture
def run(tmp_path: Path) -> Iterator[EmbeddedRun]:
    run = EmbeddedRun(tmp_path / "var", free_port())
    yield run
    if run.process is not None and run.process.poll() is None:
        run.process.kill()
        run.process.wait()
        wait_until(lambda: not run.processes(), seconds=20, what="the killed run's processes to end")


def test_a_run_from_its_first_start_to_its_second_end(run: EmbeddedRun) -> None:
    run.start()
    run.wait_until_ready(seconds=90)

    tasks = run.tasks()
    assert len(tasks) == 15
    assert {task["status"] for task in tasks} <= {"succeeded", "dead", "failed"}
    statuses = {task["metadata"]["sample"]: (task["status"], task["dead_reason"]) for task in tasks}
    assert statuses["JSON body"] == ("succeeded", None)
    assert statuses["partner that recovers"] == ("succeeded", None)
    assert statuses["refused for good"] == ("dead", "rejected")
    assert statuses["error for ever"] == ("dead", "exhausted")
    assert statuses["redirect, not followed"] == ("succeeded", None)
    for path in ("/", "/v1/docs", "/metrics", "/readyz"):
        assert run.get(path)[0] == 200
    assert len(run.processes()) == 7, run.processes()  # the run, web and its worker, worker, beat, Flower, simulator
    broker = run.broker_port()
    assert listens(broker)

    assert run.end(signal.SIGINT) == 0
    assert run.processes() == {}
    assert not listens(run.port)
    assert not listens(broker)

    started = time.monotonic()
    run.start()
    run.wait_until_ready(seconds=10)
    assert time.monotonic() - started < 10
    assert not run.said("sample notifications")
    assert len(run.tasks()) == 15
    assert run.end(signal.SIGTERM) == 0
    assert run.processes() == {}
    assert not list(run.data_dir.glob("*-wal"))


def test_a_live_run_refuses_a_second_one_and_shares_its_environment_with_manage(
    run: EmbeddedRun, tmp_path: Path
) -> None:
    run.start_without_show()

    same_data = run.other(PORT=str(free_port()))
    same_port = run.other(NOTIFIER_DATA_DIR=str(tmp_path / "other"))
    settings = "settings.CELERY_BROKER_URL, settings.DATABASES['default']['NAME'], settings.NOTIFIER_DEMO_API_KEY"
    managed = run.other("manage", "shell", "-v", "0", "-c", f"from django.conf import settings; print({settings})")

    assert (same_data.returncode, same_data.stdout, same_data.stderr.count("\n")) == (1, "", 1)
    assert f"uses {run.data_dir}" in same_data.stderr
    assert (same_port.returncode, same_port.stdout, same_port.stderr.count("\n")) == (1, "", 1)
    assert same_port.stderr.startswith(f"PORT={run.port} ")
    broker = (run.data_dir / "broker_url").read_text()
    assert managed.stdout.split() == [broker, str(run.data_dir / "notifier.sqlite3"), DEMO_KEY]
    assert run.end(signal.SIGINT) == 0
    assert not (run.data_dir / "broker_url").exists()


def test_a_process_that_dies_is_named_and_started_again(run: EmbeddedRun) -> None:
    run.start_without_show()
    (simulator,) = run.processes("embedded.simulator")

    os.kill(simulator, signal.SIGKILL)

    wait_until(lambda: run.said("simulator was killed by signal 9."), seconds=10, what="the death to be reported")
    wait_until(lambda: run.processes("embedded.simulator"), seconds=10, what="a new simulator")
    assert run.end(signal.SIGINT) == 0
    assert run.processes() == {}


def test_nothing_outlives_a_run_that_was_killed(run: EmbeddedRun) -> None:
    run.start_without_show()

    broker = run.broker_port()

    assert run.end(signal.SIGKILL) == -signal.SIGKILL

    wait_until(lambda: not run.processes() and not listens(broker), seconds=10, what="the children to end")
