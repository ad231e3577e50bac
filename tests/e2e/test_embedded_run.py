"""`make run` as a person meets it: starts, shows, ends without a trace, starts again with everything in place."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded import DEMO_KEY, EmbeddedRun
from tests.support.servers import free_port, listens
from tests.support.waiting import wait_until


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
    # The samples that fail on purpose do not keep what a newcomer sends.
    assert json.loads(run.get("/v1/partners/demo")[1])["state"]["circuit"]["state"] == "closed"
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
