"""Celery's entry points: nudges for the dispatcher of this process."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery.signals import after_task_publish, beat_init, task_prerun
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections
from prometheus_client import Counter, Gauge

from config.celery import app
from deliveries import bootstep, sweeper
from deliveries import prune as retention
from notifier import metrics_port
from notifier import rollup as counting
from notifier.wake import DISPATCH_TASK, publisher

# Of every 30 s that beat asks for one. It must leave the worker time to stop (NOTIFIER_DRAIN_SECONDS).
PRUNE_MOST_SECONDS = 10.0

logger = logging.getLogger(__name__)
_sweeping = threading.Lock()


@app.task(name=DISPATCH_TASK, Strategy="deliveries.strategy:nudge")
def dispatch(partner_ids: list[str]) -> None:
    """These partners have work."""
    bootstep.current().wake(partner_ids)


@app.task(name="deliveries.sweep")
def sweep() -> None:
    """Beat's, every second: find what is due, whoever forgot it. One at a time: while it waits for the database, those that beat
    asks for meanwhile are for nothing.
    """
    if not _sweeping.acquire(blocking=False):
        return
    try:
        swept = sweeper.sweep(by_beat=True)
    except (OperationalError, InterfaceError) as error:
        # Beat asks again in a second; a traceback each time would hide what else is in the log.
        logger.error("the sweep waits for the database: %s", type(error).__name__)
        return
    finally:
        _sweeping.release()
    if swept is not None:
        # Here at once, and by message for the other workers. Of what was known here they have heard before, or find it by a sweep of
        # their own.
        publisher.wake(bootstep.current().swept(swept))


@app.task(name="deliveries.prune")
def prune() -> None:
    """Beat's: delete what has been kept for long enough. What is not done in this time is the next one's."""
    try:
        deleted = sum(batch.tasks for batch in retention.prune(most_seconds=PRUNE_MOST_SECONDS))
    except (OperationalError, InterfaceError) as error:
        logger.error("the prune waits for the database: %s", type(error).__name__)
        return
    if deleted:
        logger.info("%d notifications that ended long ago were deleted", deleted)


@app.task(name="deliveries.rollup")
def rollup() -> None:
    """Beat's, every 15 s: count the attempts of the minutes that are over, for the admin's dashboard."""
    try:
        counting.roll()
    except (OperationalError, InterfaceError) as error:
        logger.error("the counts wait for the database: %s", type(error).__name__)


@task_prerun.connect
def _keep_usable_connections(**kwargs: Any) -> None:
    """A task has the connection of its thread's last one, as a request has: not one that failed, or is CONN_MAX_AGE old."""
    close_old_connections()


@beat_init.connect
def _measure_beat(**kwargs: Any) -> None:
    """Beat counts what it published, on a metrics port of its own."""
    published = Counter("notifier_beat_messages", "Sweeps that beat has asked for")
    last = Gauge("notifier_beat_last_message_timestamp_seconds", "When beat last asked for a sweep, since 1970")

    def count(**kwargs: Any) -> None:
        published.inc()
        last.set_to_current_time()

    after_task_publish.connect(count, weak=False)
    metrics_port.serve(settings.NOTIFIER_BEAT_METRICS_PORT)
