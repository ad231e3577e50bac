"""The Celery app: carries wakes and the sweep's beat. It decides nothing; losing any message costs time only."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import worker_init
from kombu import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings  # after the line above, which names the settings

RECONNECT_MAX_SECONDS = 1.0
WORKER_SOCKET_SECONDS = 5.0


class QuickConnection(Connection):
    """Tries again every second: kombu's default waits up to 30 s between tries after a long outage."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> QuickConnection:
        kwargs.setdefault("interval_start", RECONNECT_MAX_SECONDS)
        kwargs.setdefault("interval_max", RECONNECT_MAX_SECONDS)
        super().ensure_connection(*args, **kwargs)
        return self

    def _do_close_transport(self) -> None:
        """Leave the transport its client, which kombu would take away before its channels are closed.

        A message that is unacknowledged when the broker goes away is restored or acknowledged through that channel later.
        Without a client that is an AttributeError, which Celery takes for a reason to end the worker; with one it works,
        or fails as the lost connection that it is, which Celery expects.
        """
        self._transport = None


class QuickAMQP(AMQP):
    Connection = QuickConnection


app = Celery("notifier", amqp=QuickAMQP)
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_acquire_timeout=0.5,
    # Fail fast: a publish is a hint, and nobody may wait for a broker that hangs (measured: without max_retries inside
    # the transport options a publish to a mute server takes 2.6 s; with it 0.5 s).
    broker_transport_options={
        "socket_timeout": 0.5,
        "socket_connect_timeout": 0.5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_retries": 0,
        "visibility_timeout": 300,
    },
    task_default_queue=settings.NOTIFIER_QUEUE,
    task_publish_retry=False,
    task_ignore_result=True,
    result_backend=None,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_pool="threads",
    worker_concurrency=4,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=True,
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=1,
    beat_schedule={
        "sweep": {
            "task": "deliveries.sweep",
            "schedule": settings.NOTIFIER_SWEEP_SECONDS,
            "options": {"expires": 10, "ignore_result": True},
        },
    },
)
app.autodiscover_tasks(["deliveries"])
# By name: the step's module needs Django's apps, which are loaded later.
app.steps["worker"].add("deliveries.bootstep:DispatcherStep")


@worker_init.connect
def _read_patiently(**kwargs: Any) -> None:
    """A worker reads with a longer time-out: a busy machine is not a dead broker, and nobody waits for a worker's reads."""
    options = app.conf.broker_transport_options
    app.conf.broker_transport_options = {**options, "socket_timeout": WORKER_SOCKET_SECONDS}
