"""The recorder: writes what came back, all that arrived within 25 ms in one short transaction, and what it taught."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from django.db import InterfaceError, OperationalError

from deliveries import judge, measure
from deliveries.judge import Judged
from deliveries.lessons import Lessons
from deliveries.lines import DeliveryLines
from deliveries.sending import Sending
from deliveries.transport.transfer import Settled
from notifier import clock, lifecycle
from notifier.lifecycle import Result
from notifier.policy.retry import Dead, RetryAt
from notifier.selectors import handling_failures
from notifier.transactions import atomically

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.025
BATCH_ROWS = 400
IDLE_SECONDS = 0.5
# A retry due sooner than this gets a timer of its own; later ones are the sweep's.
TIMER_SECONDS = 10.0

Finished = tuple[Sending, Settled]


class Recorder:
    """Takes finished sendings from any thread; ``release`` gets whose slots are free after each commit, and after how long."""

    def __init__(
        self,
        *,
        release: Callable[[Collection[tuple[str, float]]], None],
        wake: Callable[[Iterable[str]], None],
        wake_later: Callable[[Collection[str], float], None],
    ) -> None:
        self._release = release
        self._wake_later = wake_later
        self._lessons = Lessons(wake=wake)
        self._lines = DeliveryLines()
        self._finished: deque[Finished] = deque()
        self._arrived = threading.Event()
        self._batch: list[Finished] = []
        self._stopping = False

    def put(self, sending: Sending, settled: Settled) -> None:
        self._finished.append((sending, settled))
        self._arrived.set()

    def stop(self) -> None:
        """End once everything that came back is written."""
        self._stopping = True
        self._arrived.set()

    def work(self) -> bool:
        """One batch; False when stopped and nothing is left. A batch that could not be written stays for the next call."""
        if not self._batch:
            self._gather()
        if not self._batch:
            if self._lessons.unwritten:
                self._lessons.write(clock.now())
            return not self._stopping
        now, begun = clock.now(), time.monotonic()
        judged = [self._judged(sending, settled, now) for sending, settled in self._batch]
        results = [each.result for each in judged]
        self._write(results, now)
        written, self._batch = self._batch, []
        measure.worker.recorded(written, results, seconds=time.monotonic() - begun)
        for (sending, _), each in zip(written, judged, strict=True):
            self._lessons.take(sending, each.taught)
        try:
            # Before the slots are free: no claim must overlook a hold.
            self._lessons.write(now)
        finally:
            self._release(
                [
                    (sending.partner.partner_id, _seconds(result))
                    for (sending, _), result in zip(written, results, strict=True)
                ]
            )
            self._set_timers(written, results, now)
        # Last: nobody waits for it.
        self._lines.recorded((sending for sending, _ in written), results)
        return True

    def _gather(self) -> None:
        if not self._finished:
            self._arrived.wait(IDLE_SECONDS)
        self._arrived.clear()
        if self._finished and not self._stopping:
            # More comes back within these milliseconds, and one commit serves all of it.
            threading.Event().wait(GATHER_SECONDS)
        seen: set[int] = set()
        again: list[Finished] = []
        while self._finished and len(self._batch) < BATCH_ROWS:
            item = self._finished.popleft()
            # The same task twice: its lease was lost and claimed again here. One batch holds one result of each.
            (again if item[0].claim.id in seen else self._batch).append(item)
            seen.add(item[0].claim.id)
        self._finished.extendleft(reversed(again))
        if self._finished:
            self._arrived.set()

    def _judged(self, sending: Sending, settled: Settled, now: datetime) -> Judged:
        if isinstance(settled, Exception):
            return self._poisoned(sending, settled, now)
        try:
            return judge.judge(sending, settled, now=now)
        except Exception as error:  # noqa: BLE001 - one row's policy or data: its own failure, not the batch's
            return self._poisoned(sending, error, now)

    def _poisoned(self, sending: Sending, error: Exception, now: datetime) -> Judged:
        """The failure is the row's own. It is logged when the row is given up: once."""
        claim = sending.claim
        tries = 1 + handling_failures(claim.id, since_attempt=claim.attempts_before_requeue)
        judged = judge.poisoned(sending, error, tries=tries, now=now)
        if isinstance(judged.result.decision, Dead):
            logger.error("task %s cannot be handled: %s", claim.task_id, type(error).__name__)
        return judged

    def _write(self, results: Sequence[Result], now: datetime) -> None:
        try:
            try:
                atomically(lambda: lifecycle.record_held(results, now=now))
            except lifecycle.LeaseLost:
                atomically(lambda: lifecycle.record(results, now=now))
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # noqa: BLE001 - one row's result cannot be stored; found out one by one
            for (sending, _), result in zip(self._batch, results, strict=True):
                self._write_alone(sending, result, now)

    def _write_alone(self, sending: Sending, result: Result, now: datetime) -> None:
        """One of a batch that could not be stored: the row at fault is found, and only it is poisoned."""
        try:
            atomically(lambda: lifecycle.record([result], now=now))
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - the row at fault
            if lifecycle.bury_unusable([sending.claim.id], now=now):
                return
            poisoned = self._poisoned(sending, error, now).result
            atomically(lambda: lifecycle.record([poisoned], now=now))

    def _set_timers(self, written: Sequence[Finished], results: Sequence[Result], now: datetime) -> None:
        for (sending, _), result in zip(written, results, strict=True):
            if isinstance(result.decision, RetryAt):
                seconds = (result.decision.at - now).total_seconds()
                if seconds <= TIMER_SECONDS:
                    self._wake_later([sending.partner.partner_id], seconds)


def _seconds(result: Result) -> float:
    """How long the request held its slot; nothing where none was sent."""
    return 0.0 if result.timing is None else result.timing.total_ms / 1000
