"""How a worker takes a dispatch message: in Celery's own thread, for it is a nudge, and what it does is done in microseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.strategy import default

from deliveries import bootstep


def nudge(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Celery's ``Task.Strategy``: without a request, a place in the pool and a thread, which cost more than the nudge.

    Not acknowledged: nobody waits for that (``config.broker.LastingAMQP``). While somebody watches the worker's events
    (Flower), or where it is not a message as ``notifier.wake`` sends them, Celery's own way is gone, which tells of it.
    """
    ordinary = default(task, app, consumer)

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **kwargs: Any) -> Any:
        partner_ids = None if _is_watched(consumer) else _partner_ids(message)
        if partner_ids is None:
            return ordinary(message, body, ack, reject, callbacks, **kwargs)
        return bootstep.current().wake(partner_ids)

    return handle


def _is_watched(consumer: Any) -> bool:
    """Whether somebody asked for events of tasks. Those of the worker itself, its heartbeats, are always sent."""
    events = consumer.event_dispatcher
    return bool(events and events.enabled and (not events.groups or "task" in events.groups))


def _partner_ids(message: Any) -> list[str] | None:
    match message.payload:
        case [[[*partner_ids]], {**named}, *_] if not named and all(isinstance(each, str) for each in partner_ids):
            return partner_ids
        case _:
            return None
