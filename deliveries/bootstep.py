"""Starts the dispatcher with the Celery worker and drains it when the worker stops."""

from __future__ import annotations

import sys
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from django.conf import settings

from config import collector
from config.limits import allow_many_files
from deliveries import measure
from deliveries.checks import lease_outlives_request
from deliveries.dispatcher import Dispatcher
from notifier import metrics_port
from notifier.tracing import tracing

# After each wait for the database a thread gets the interpreter back only when another gives it up: by default after
# 5 ms, which a claim of five statements beside a busy engine and recorder would pay five times.
SWITCH_SECONDS = 0.0005
# A delivery's objects are freed by its end, and fifteen hundred are under way. To look at them earlier costs a tenth of a worker's
# processor time (`perf` beside 5,000 partners: 9 % with 10,000, 5 % with these).
YOUNG_OBJECTS = 50_000

_dispatcher: Dispatcher | None = None


def current() -> Dispatcher:
    """This process's dispatcher."""
    if _dispatcher is None:
        raise RuntimeError("this process has no dispatcher: it is not a Celery worker that was started with one")
    return _dispatcher


class DispatcherStep(bootsteps.StartStopStep):
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        pool = worker.pool_cls
        if not (isinstance(pool, type) and issubclass(pool, TaskPool)):
            name = getattr(pool, "__module__", str(pool)).rpartition(".")[2]
            raise SystemExit(
                f"The {name} pool cannot carry the dispatcher, whose threads live in the worker process itself: "
                "start the worker with --pool threads (or leave --pool out)."
            )

        for refusal in lease_outlives_request(None):
            raise SystemExit(f"{refusal.msg} {refusal.hint}")

    def start(self, worker: Any) -> None:
        global _dispatcher
        allow_many_files()
        sys.setswitchinterval(SWITCH_SECONDS)
        tracing.start_if_configured(service="worker")
        collector.settle(young=YOUNG_OBJECTS)
        _dispatcher = Dispatcher()
        _dispatcher.start()
        measure.worker.watch(settings.NOTIFIER_ENGINE_SLOTS, _dispatcher.free_slots)
        metrics_port.serve(settings.NOTIFIER_WORKER_METRICS_PORT)

    def close(self, worker: Any) -> None:
        """The worker begins to stop: no further claim."""
        if _dispatcher is not None:
            _dispatcher.stop_claiming()

    def stop(self, worker: Any) -> None:
        """SIGTERM: let what is in flight end, within the deadline."""
        if _dispatcher is not None:
            _dispatcher.drain(settings.NOTIFIER_DRAIN_SECONDS)

    def terminate(self, worker: Any) -> None:
        """SIGQUIT: leave at once; leases and sweep do the rest."""
        if _dispatcher is not None:
            _dispatcher.drain(0)
