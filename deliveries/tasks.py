"""Celery's entry points: nudges for the dispatcher of this process."""

from __future__ import annotations

from config.celery import app
from deliveries import bootstep, sweeper
from notifier.wake import DISPATCH_TASK, publisher


@app.task(name=DISPATCH_TASK)
def dispatch(partner_ids: list[str]) -> None:
    """These partners have work."""
    bootstep.current().wake(partner_ids)


@app.task(name="deliveries.sweep")
def sweep() -> None:
    """Beat's, every second: find what is due, whoever forgot it."""
    swept = sweeper.sweep(by_beat=True)
    if swept is not None:
        # Here at once, and by message for the other workers.
        bootstep.current().wake(swept.due)
        publisher.wake(swept.due)
