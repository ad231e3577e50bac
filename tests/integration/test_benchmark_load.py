"""The benchmarks' two ends: what they count is what happened."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ground import Receiver, run_load
from benchmarks.load import NUMBER, Job
from benchmarks.receiver import address


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    running = Receiver(tmp_path, addresses=3)
    try:
        yield running
    finally:
        running.stop()


def job(receiver: Receiver, **changes: object) -> Job:
    fields = {
        "port": receiver.port, "host": address(1), "path": "/0", "headers": {}, "bodies": ["x" * 1024], "status": 200,
        "seconds": 0.3, "connections": 4, "counts": str(receiver.folder),
    }  # fmt: skip
    return Job(**(fields | changes))  # type: ignore[arg-type]  # the fields of a job


def test_what_is_posted_as_fast_as_it_goes_arrives_and_is_counted(receiver: Receiver) -> None:
    report = run_load(job(receiver))

    assert report.accepted == receiver.arrived == len(report.posts) > 0
    assert report.refused == {}


def test_a_fixed_rate_posts_so_many_and_writes_when_each_was_due_and_answered(receiver: Receiver) -> None:
    report = run_load(job(receiver, rate=100, path="/20"))

    assert report.accepted == 30
    assert [number for number, _, _ in sorted(report.posts)] == list(range(30))
    # The receiver takes 20 ms; its timers are coarse.
    assert min(answered - due for _, due, answered in report.posts) >= 15_000_000


def test_a_numbered_request_is_in_the_ledger_with_its_time(receiver: Receiver) -> None:
    with contextlib.closing(http.client.HTTPConnection(address(2), receiver.port, timeout=5)) as client:
        client.request("POST", "/0/0000000042", b"y" * 100)
        assert client.getresponse().status == 200

    assert list(receiver.arrivals()) == [42]


def test_an_answer_of_another_status_is_refused_and_not_accepted(receiver: Receiver) -> None:
    report = run_load(job(receiver, status=202))

    assert report.accepted == 0
    assert sum(report.refused.values()) == receiver.arrived > 0


def test_producers_pause_while_too_much_has_not_arrived(receiver: Receiver, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "counts").write_bytes(bytes(4096))

    report = run_load(job(receiver, window=10, counts=str(elsewhere)))

    # Nothing arrives where they look: the window, and what the other connections had under way.
    assert 10 <= report.accepted <= 13


def test_a_number_is_as_wide_as_its_mark(receiver: Receiver) -> None:
    run_load(job(receiver, rate=50, bodies=[NUMBER + "!"]))

    assert receiver.arrived == 15
