"""Celery's entry points: nudges for the dispatcher of this process."""

from __future__ import annotations

import logging

from django.db import InterfaceError, OperationalError

from config.celery import app
from deliveries import bootstep, sweeper
from notifier import rollup as counting
from notifier.wake import DISPATCH_TASK, publisher

logger = logging.getLogger(__name__)


@app.task(name=DISPATCH_TASK)
def dispatch(partner_ids: list[str]) -> None:
    """These partners have work."""
    bootstep.current().wake(partner_ids)


@app.task(name="deliveries.sweep")
def sweep() -> None:
    """Beat's, every second: find what is due, whoever forgot it."""
    try:
        swept = sweeper.sweep(by_beat=True)
    except (OperationalError, InterfaceError) as error:
        # Beat asks again in a second; a traceback each time would hide what else is in the log.
        logger.error("the sweep waits for the database: %s", type(error).__name__)
        return
    if swept is not None:
        # Here at once, and by message for the other workers.
        bootstep.current().wake(swept.due)
        publisher.wake(swept.due)


@app.task(name="deliveries.rollup")
def rollup() -> None:
    """Beat's, every 15 s: count the attempts of the minutes that are over, for the admin's dashboard."""
    try:
        counting.roll()
    except (OperationalError, InterfaceError) as error:
        logger.error("the counts wait for the database: %s", type(error).__name__)
