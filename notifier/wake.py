"""The only sender of Celery messages: "these partners have work". A lost or doubled message changes when, never whether."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.conf import settings
from kombu import Connection, Producer
from prometheus_client import Counter

from config.celery import app
from notifier import rest
from notifier.tracing import MOST_LINKS, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

logger = logging.getLogger(__name__)

DISPATCH_TASK = "deliveries.dispatch"
# After each message as long as it took passes before the next, which carries all the partners that came meanwhile, and longer after
# one for more than a few: 1 ms on an idle machine, and up to 30 on a busy one, where a message takes longer.
FEW_PARTNERS = 3
LONGEST_REST_SECONDS = 0.03
# After a failure nothing is published for this long: the sweep finds the work.
PAUSE_SECONDS = 1.0
# Partners in one message.
MESSAGE_PARTNERS = 500
SHOWN_PARTNERS = 5

failed_publishes = Counter("notifier_wake_failures", "Wakes that could not be published; the sweep made up for them")


def rest_seconds(partners: int, took: float) -> float:
    """How long nothing is published after so many partners were, which took so long."""
    return min(rest.lengthened(took, carried=partners, few=FEW_PARTNERS), LONGEST_REST_SECONDS)


def shown(partner_ids: list[str]) -> str:
    """The partners of a message for people: some of them by name."""
    names, more = ", ".join(partner_ids[:SHOWN_PARTNERS]), len(partner_ids) - SHOWN_PARTNERS
    return f"{names} and {more} more" if more > 0 else names


class Sender:
    """Publishes dispatch messages over a connection of its own, which it keeps. For one thread.

    Celery's pool gives each publish a producer, and has it declare the queue again: as much work as the publish itself. Here
    the message goes to the queue by its name, which the workers declare.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._producer: Producer

    def __call__(self, partner_ids: list[str]) -> None:
        """Publish one message, or raise within the broker's socket time-out; the next has a new connection then."""
        try:
            if self._connection is None:
                self._connection = app.connection_for_write()
                self._producer = Producer(self._connection)
            app.send_task(
                DISPATCH_TASK,
                args=[partner_ids],
                # What Flower shows of the message.
                argsrepr=shown(partner_ids),
                queue=settings.NOTIFIER_QUEUE,
                retry=False,
                ignore_result=True,
                producer=self._producer,
                declare=(),
            )
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """The next message has a new connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def broker_answers() -> bool:
    """Whether the broker answers a ping within its socket time-out."""
    try:
        with app.connection_for_write() as connection:
            # Two tries without a pause: the default waits two seconds before the second.
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, interval_max=0)
            connection.default_channel.client.ping()  # type: ignore[attr-defined]  # the Redis channel has one
    except Exception:  # noqa: BLE001 - whatever a broker raises, the answer is that it does not answer
        return False
    return True


class Publisher:
    """Publishes from a thread of its own, so that no caller ever waits for the broker.

    What cannot be published is dropped: the rows are committed, and the sweep wakes their partners.
    """

    def __init__(
        self, send: Callable[[list[str]], None] | None = None, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._send = send or Sender()
        self._pause_seconds = pause_seconds
        self._partners: set[str] = set()
        # Of the traces that these partners' notifications belong to.
        self._origins: list[SpanContext] = []
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._paused_until = float("-inf")
        self._failing = False

    def wake(self, partner_ids: Iterable[str]) -> None:
        """Note that these partners have work; returns at once, raises nothing."""
        with self._condition:
            if time.monotonic() < self._paused_until:
                return
            self._partners.update(partner_ids)
            if tracing.on and len(self._origins) < MOST_LINKS and (origin := tracing.current()) is not None:
                self._origins.append(origin)
            # Started by the first wake, and so in the process that serves, not in the one that forked it.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="wake-publisher", daemon=True)
                self._thread.start()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._partners)
                partner_ids = sorted(self._partners)
                self._partners.clear()
                origins, self._origins = self._origins, []
            begun = time.monotonic()
            for start in range(0, len(partner_ids), MESSAGE_PARTNERS):
                if not self._traced(partner_ids[start : start + MESSAGE_PARTNERS], origins):
                    break
            threading.Event().wait(rest_seconds(len(partner_ids), time.monotonic() - begun))

    def _traced(self, partner_ids: list[str], origins: list[SpanContext]) -> bool:
        if not (tracing.on and origins):
            return self._publish(partner_ids)
        with tracing.waking(origins, partners=len(partner_ids)):
            return self._publish(partner_ids)

    def _publish(self, partner_ids: list[str]) -> bool:
        try:
            self._send(partner_ids)
        except Exception as error:  # noqa: BLE001 - whatever a broker raises, the work is committed and the sweep finds it
            failed_publishes.inc()
            if not self._failing:
                logger.warning(
                    "wakes cannot be published (%s); the sweep delivers until they can", type(error).__name__
                )
            self._failing = True
            with self._condition:
                self._partners.clear()
                self._paused_until = time.monotonic() + self._pause_seconds
            return False
        if self._failing:
            logger.info("wakes are published again")
        self._failing = False
        return True


publisher = Publisher()
