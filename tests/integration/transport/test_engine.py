"""The engine's one thread: a thousand transfers at once, one bad request among good ones, idle, and stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, wait
from dataclasses import replace

import pytest

from deliveries.transport import queue
from deliveries.transport.request import Unsendable
from deliveries.transport.transfer import Settled
from notifier.policy.exchange import Exchange, FailureKind
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, new_engine, outgoing
from tests.support.ledger import REPOSITORY
from tests.support.raw_server import OK, Connection, Handler, RawServer, answering
from tests.support.waiting import wait_until

THOUSAND = 1000


def _native_threads() -> int:
    """All of the process, libcurl's own included."""
    return len(os.listdir("/proc/self/task"))


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _never(connection: Connection) -> None:
    await connection.request()
    await connection.closed()


def _all_at_once(count: int, threads: list[int]) -> Handler:
    """Answer nobody until so many requests have come; note how many threads there are then."""
    everyone = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.request()
        if connection.number == count:
            threads.append(_native_threads())
            everyone.set()
        await everyone.wait()
        await connection.send(OK)
        await connection.closed()

    return handle


def test_what_would_begin_too_late_is_not_begun(sender: Sender) -> None:
    """The process was stopped between claim and send: its lease may be another's by now."""
    with RawServer(answering(OK)) as partner:
        request = outgoing(partner.url("/"))
        late = replace(request, limits=replace(request.limits, begin_before=time.monotonic() - 0.001))
        exchange = sender.engine.submit(late).result(PATIENCE_SECONDS)

    assert (exchange.failure, exchange.maybe_sent) == (FailureKind.HELD_UP, False)
    assert partner.connections == 0


@pytest.mark.usefixtures("many_files")
def test_a_thousand_transfers_in_flight_take_one_thread(sender: Sender) -> None:
    threads: list[int] = []

    with RawServer(_all_at_once(THOUSAND, threads)) as partner:
        before = _native_threads()
        futures = [sender.engine.submit(outgoing(partner.url(f"/{number}"), total=20)) for number in range(THOUSAND)]
        statuses = Counter(future.result(PATIENCE_SECONDS).status for future in futures)

    assert statuses == {200: THOUSAND}
    assert partner.connections == THOUSAND
    assert {received.line for received in partner.requests} == {
        f"POST /{number} HTTP/1.1".encode() for number in range(THOUSAND)
    }
    assert threads == [before]


@pytest.mark.usefixtures("many_files")
def test_a_thousand_slow_transfers_hold_up_no_other(sender: Sender) -> None:
    with RawServer(_never) as slow, RawServer(answering(OK)) as quick:
        held = [sender.engine.submit(outgoing(slow.url(), total=20)) for _ in range(THOUSAND)]
        wait_until(lambda: len(slow.requests) == THOUSAND, seconds=10, what="the slow requests to arrive")
        times = [sender.send(quick.url()).timing.total_ms for _ in range(100)]
        sender.engine.stop()

    assert not any(future.done() for future in held)
    assert sorted(times)[50] < 50
    assert max(times) < 500


def test_a_callback_runs_in_the_engine_s_thread(sender: Sender) -> None:
    called: list[tuple[str, int | None]] = []
    answer, done = asyncio.Event(), threading.Event()

    async def handle(connection: Connection) -> None:
        await connection.request()
        await answer.wait()
        await connection.send(OK)

    def note(settled: Settled) -> None:
        assert isinstance(settled, Exchange)
        called.append((threading.current_thread().name, settled.status))
        done.set()

    with RawServer(handle) as partner:
        sender.engine.send(outgoing(partner.url()), note)
        partner.call(answer.set)
        assert done.wait(PATIENCE_SECONDS)

    assert called == [("engine", 200)]


def test_a_callback_may_submit_and_may_raise(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    followed: Future[Future[Exchange]] = Future()

    def submit_another(_: Settled) -> None:
        followed.set_result(sender.engine.submit(outgoing(partner.url("/2"))))
        raise RuntimeError("a bug in a callback")

    with RawServer(answering(OK)) as partner:
        sender.engine.send(outgoing(partner.url("/1")), submit_another)
        second = followed.result(PATIENCE_SECONDS).result(PATIENCE_SECONDS)
        third = sender.send(partner.url("/3"))

    assert (second.status, third.status) == (200, 200)
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [
        "deliveries.transport.engine"
    ]


@pytest.mark.parametrize(
    ("url", "headers", "says"),
    [
        pytest.param("/", {"X-Signature": "canary \u2603"}, "X-Signature", id="header-outside-latin-1"),
        pytest.param("/", {"X-Signature": "canary\r\nX-Injected: 1"}, "X-Signature", id="header-with-line-break"),
        pytest.param("/", {"X-A: canary\r\nX-Injected": "1"}, "header's name", id="name-with-line-break"),
        pytest.param("/", {"X-A\x00": "canary"}, "header's name", id="name-with-nul"),
        pytest.param("/", {"X-A:": "canary"}, "header's name", id="name-with-colon"),
        pytest.param("/", {"X-Signature": "canary\n"}, "X-Signature", id="header-with-line-feed"),
        pytest.param("/", {"X-Signature": "canary\0"}, "X-Signature", id="header-with-nul"),
        pytest.param("/canary-\u2603", {}, "URL", id="url-outside-ascii"),
    ],
)
def test_a_request_that_cannot_be_built_fails_alone(
    sender: Sender, url: str, headers: dict[str, str], says: str
) -> None:
    """Accept refuses all of these; a secret that is looked up at send, or a plug-in, can still bring them in."""
    with RawServer(answering(OK)) as partner:
        before, bad, after = (
            sender.engine.submit(outgoing(partner.url(path), headers=given))
            for path, given in (("/before", {}), (url, headers), ("/after", {}))
        )
        error = bad.exception(PATIENCE_SECONDS)
        statuses = [future.result(PATIENCE_SECONDS).status for future in (before, after)]

    assert isinstance(error, Unsendable)
    assert says in str(error)
    assert "canary" not in repr(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert statuses == [200, 200]
    assert sorted(received.line for received in partner.requests) == [b"POST /after HTTP/1.1", b"POST /before HTTP/1.1"]
    assert not any(b"Injected" in received.head for received in partner.requests)


def test_however_a_request_ends_its_senders_next_may_begin(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a sender one is on its way at first, and here for ever.
    monkeypatch.setattr(queue, "DOUBLED_AFTER_SECONDS", 3600.0)
    with RawServer(answering(OK)) as partner:
        good = outgoing(partner.url())
        late = replace(good, limits=replace(good.limits, begin_before=0.0))
        requests = [good, late, outgoing(partner.url(), cidrs=()), outgoing(partner.url(), headers={"X A": ""}), good]
        futures = [sender.engine.submit(request, sender="acme") for request in requests]
        wait(futures, PATIENCE_SECONDS)

    assert [future.done() and future.exception() is None and future.result().status for future in futures] == [
        200, None, None, False, 200,
    ]  # fmt: skip


def test_a_url_that_libcurl_refuses_is_our_failure(sender: Sender) -> None:
    exchange = sender.send("http://127.0.0.1/a b")

    assert exchange.failure is FailureKind.INTERNAL
    assert exchange.maybe_sent is False


def test_what_was_submitted_cannot_be_cancelled(sender: Sender) -> None:
    answer = asyncio.Event()

    async def handle(connection: Connection) -> None:
        await connection.request()
        await answer.wait()
        await connection.send(OK)

    with RawServer(handle) as partner:
        future = sender.engine.submit(outgoing(partner.url()))
        wait_until(lambda: partner.requests, seconds=5, what="the request to arrive")
        assert not future.cancel()
        partner.call(answer.set)
        assert future.result(PATIENCE_SECONDS).status == 200


def test_many_threads_may_submit(sender: Sender) -> None:
    futures: list[Future[Exchange]] = []

    def submit(number: int) -> None:
        futures.extend([sender.engine.submit(outgoing(partner.url(f"/{number}"))) for _ in range(50)])

    with RawServer(answering(OK)) as partner:
        threads = [threading.Thread(target=submit, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done, still_open = wait(futures, PATIENCE_SECONDS)

    assert len(done) == 400
    assert not still_open
    assert Counter(received.line for received in partner.requests) == {
        f"POST /{number} HTTP/1.1".encode(): 50 for number in range(8)
    }


@pytest.mark.parametrize("kept", [False, True], ids=["new", "with-kept-connections"])
def test_an_idle_engine_costs_nothing(kept: bool) -> None:
    engine = new_engine()
    with RawServer(answering(OK)) as partner:
        if kept:
            futures = [engine.submit(outgoing(partner.url())) for _ in range(20)]
            assert [future.result(PATIENCE_SECONDS).status for future in futures] == [200] * 20
        began, busy = time.monotonic(), time.process_time()
        threading.Event().wait(0.3)
        share = (time.process_time() - busy) / (time.monotonic() - began)
        engine.stop()

    assert share < 0.02


def test_stop_drops_what_is_in_flight() -> None:
    """Their leases run out, and they are sent again: nothing may say how they ended."""
    engine = new_engine()
    with RawServer(_never) as partner:
        futures = [engine.submit(outgoing(partner.url(), total=60)) for _ in range(50)]
        wait_until(lambda: len(partner.requests) == 50, seconds=5, what="the requests to arrive")
        began = time.monotonic()
        engine.stop()
        took = time.monotonic() - began
        wait_until(partner.idle, seconds=5, what="the connections to be closed")

    assert took < 1
    assert not engine.thread.is_alive()
    assert not any(future.done() for future in futures)


def test_what_is_submitted_after_the_stop_stays_open() -> None:
    engine = new_engine()
    engine.stop()

    with RawServer(answering(OK)) as partner:
        future = engine.submit(outgoing(partner.url()))

    assert not future.done()
    assert partner.connections == 0


def test_an_engine_leaves_no_file_open() -> None:
    gc.collect()  # what earlier tests have left must not be closed in between
    before = _open_files()

    with RawServer(answering(OK)) as partner, RawServer(_never) as silent:
        for _ in range(2):
            engine = new_engine()
            futures = [engine.submit(outgoing(partner.url())) for _ in range(200)]
            failing = [engine.submit(outgoing(silent.url(), total=0.1)) for _ in range(20)]
            refused = [engine.submit(outgoing(partner.url(), cidrs=())) for _ in range(20)]
            kinds = Counter(future.result(PATIENCE_SECONDS).failure for future in futures + failing + refused)
            assert kinds == {None: 200, FailureKind.TIMEOUT: 20, FailureKind.ADDRESS_BLOCKED: 20}
            in_flight = [engine.submit(outgoing(silent.url())) for _ in range(20)]
            engine.stop()
            assert not any(future.done() for future in in_flight)

    assert _open_files() == before


def test_a_finished_transfer_holds_nothing_of_its_request(sender: Sender) -> None:
    """Handles are kept for the next transfer: a large body must not live as long as they do."""
    body = bytes(range(256)) * 1024
    before = sys.getrefcount(body)

    with RawServer(answering(OK)) as partner:
        sent = [outgoing(partner.url(), body=body) for _ in range(20)]
        futures = [sender.engine.submit(request) for request in sent]
        assert [future.result(PATIENCE_SECONDS).status for future in futures] == [200] * 20
        del sent, futures
        wait_until(lambda: sys.getrefcount(body) == before, seconds=5, what="the engine to let go of the bodies")


def test_a_process_that_is_out_of_files_recovers() -> None:
    """The failure says whose fault it is, and the engine goes on once there are files again."""
    report = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.integration.transport.out_of_files"],
        cwd=REPOSITORY, capture_output=True, check=True, timeout=60, text=True,
    )  # fmt: skip

    assert report.stdout.splitlines() == [
        "200 None",
        "None the worker cannot open a socket: Too many open files",
        "200 None",
    ]
    assert report.stderr == ""


def test_an_engine_that_dies_takes_the_process_with_it() -> None:
    """A worker that claims and never sends would be worse: leases and sweep take over from a dead one."""
    script = """
import threading
from tests.integration.transport.sending import new_engine
engine = new_engine()
engine._submitted.put("", "not a transfer")
engine._doorbell.ring()
threading.Event().wait(20)
"""

    report = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, check=False, timeout=60, text=True
    )

    assert report.returncode == 70
    assert "the engine died of an unexpected error; the process ends" in report.stderr
