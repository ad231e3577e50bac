"""The Celery app: carries wakes and the sweep's beat. It decides nothing; losing any message costs time only."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import worker_init

from config.broker import LastingAMQP

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings  # after the line above, which names the settings

WORKER_SOCKET_SECONDS = 5.0
PRUNE_SECONDS = 30.0


app = Celery("notifier", amqp=LastingAMQP)
# Else Celery closes each task's connection to the database, and every sweep makes one anew. deliveries.tasks sees to those that
# are broken or old.
app.conf.CELERY_DB_REUSE_MAX = sys.maxsize
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
    },
    task_default_queue=settings.NOTIFIER_QUEUE,
    task_publish_retry=False,
    task_ignore_result=True,
    result_backend=None,
    worker_pool="threads",
    worker_concurrency=4,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    # The log lines of deliveries go to standard error as they are.
    worker_redirect_stdouts=False,
    worker_enable_remote_control=True,
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=1,
    beat_schedule={
        "sweep": {
            "task": "deliveries.sweep",
            "schedule": settings.NOTIFIER_SWEEP_SECONDS,
            "options": {"expires": 10, "ignore_result": True},
        },
        "prune": {
            "task": "deliveries.prune",
            "schedule": PRUNE_SECONDS,
            "options": {"expires": PRUNE_SECONDS, "ignore_result": True},
        },
        # Nobody's delivery waits for it: it counts for the dashboard.
        "rollup": {"task": "deliveries.rollup", "schedule": 15, "options": {"expires": 15, "ignore_result": True}},
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
