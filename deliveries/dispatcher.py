"""The dispatcher of a worker process: claimers, engine and recorder put together, started and drained as one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from django.conf import settings

from deliveries import sweeper
from deliveries.claimer import Claimer
from deliveries.credentials import Credentials
from deliveries.recorder import Recorder
from deliveries.sending import Sending, send
from deliveries.station import Station
from deliveries.traced import finished, traced
from deliveries.transport.egress import FIRST_LOOKUP_SECONDS, Egress, proxy_at
from deliveries.transport.engine import Engine
from deliveries.transport.transfer import Settled
from deliveries.woken import Lane, Woken
from notifier import listeners, secret_store
from notifier.tracing import tracing
from notifier.wake import publisher

logger = logging.getLogger(__name__)


class Dispatcher:
    """``wake`` partners, and what is due of them is sent. One to a process."""

    def __init__(self) -> None:
        self._slots = settings.NOTIFIER_ENGINE_SLOTS
        self._woken = Woken(self._slots)
        self._engine = Engine(
            ca_file=settings.NOTIFIER_CA_FILE, read_bytes=settings.NOTIFIER_RESPONSE_READ_BYTES, egress=_egress()
        )
        self._credentials = Credentials(self._engine, secret_store.backend())
        self._recorder = Recorder(
            release=self._woken.release, wake=self._wake_everywhere, wake_later=self._woken.wake_later
        )
        self._substitute = sweeper.Substitute(tell=self.swept)
        behind = Claimer(self._woken, Lane.BEHIND, send=self._send, idle=self._substitute.sweep_if_nobody_does)
        self._claimer_stations = [
            Station("claimer", Claimer(self._woken, Lane.ON_TIME, send=self._send).work),
            Station("claimer of those behind", behind.work),
        ]
        self._recorder_station = Station("recorder", self._recorder.work)

    def start(self) -> None:
        self._engine.start()
        self._credentials.station.start()
        self._recorder_station.start()
        for station in self._claimer_stations:
            station.start()

    def wake(self, partner_ids: Iterable[str]) -> None:
        """These partners have work. Returns at once."""
        self._woken.wake(partner_ids)

    def swept(self, swept: sweeper.Swept) -> list[str]:
        """These partners have work, and of those woken before it nobody else has. Returns at once, which of them were not
        known here to have any.
        """
        return self._woken.swept(swept.due, begun=swept.begun)

    def free_slots(self) -> int:
        """How many more requests the engine may have in flight."""
        return self._woken.free

    @property
    def in_flight(self) -> int:
        """Claims that are not yet recorded."""
        return self._slots - self._woken.free

    def stop_claiming(self) -> None:
        """No further claim; what is in flight goes on. A claim that was just being made is given back."""
        self._woken.stop()
        for station in self._claimer_stations:
            station.hurry()

    def drain(self, seconds: float) -> int:
        """Stop claiming, let what is in flight end and record it, within so many seconds; returns what was left.

        What is left keeps its lease until that runs out, and is then sent again by another worker.
        """
        give_up = time.monotonic() + seconds
        self.stop_claiming()
        for station in self._claimer_stations:
            station.join(give_up - time.monotonic())
        while self.in_flight and time.monotonic() < give_up:
            self._woken.wait_for_release(give_up - time.monotonic())
        left = self.in_flight
        self._credentials.stop()
        self._engine.stop()
        self._recorder.stop()
        self._recorder_station.hurry()
        self._recorder_station.join(max(1.0, give_up - time.monotonic()))
        if left:
            logger.warning("stopped with %d requests in flight; their leases run out, and they are sent again", left)
        return left

    def _wake_everywhere(self, partner_ids: Iterable[str]) -> None:
        """Here at once, and by message in the other workers."""
        woken = list(partner_ids)
        self._woken.wake(woken)
        publisher.wake(woken)

    def _send(self, sending: Sending, now: datetime) -> None:
        if tracing.on:
            sending = traced(sending, now=now)
        send(sending, self._engine, partial(self._came_back, sending), now=now, credentials=self._credentials)

    def _came_back(self, sending: Sending, settled: Settled) -> None:
        """In whichever thread. The recorder first: nothing else may keep the result from it."""
        self._recorder.put(sending, settled)
        finished(sending, settled)


def _egress() -> Egress:
    """Where nobody may go. Waits a while for the names of the service's own listeners."""
    own = listeners.shared()
    own.start(wait_seconds=FIRST_LOOKUP_SECONDS)
    return Egress(
        deny_cidrs=tuple(settings.NOTIFIER_DENY_CIDRS),
        is_own_listener=own.has,
        proxy=proxy_at(settings.NOTIFIER_EGRESS_PROXY),
    )
