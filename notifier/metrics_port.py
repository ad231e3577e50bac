"""A port of its own for the metrics of a process that serves no HTTP: worker and beat."""

from __future__ import annotations

import logging

import prometheus_client
from django.conf import settings

logger = logging.getLogger(__name__)


def serve(port: int) -> bool:
    """Answer scrapes on ``NOTIFIER_METRICS_ADDRESS`` from a thread of its own; False where the port is 0, or not to be had.

    A port that is taken is logged and no reason to stop: deliveries matter more than figures about them.
    """
    if not port:
        return False
    try:
        prometheus_client.start_http_server(port, addr=settings.NOTIFIER_METRICS_ADDRESS)
    except OSError as error:
        logger.error(
            "no metrics: %s:%d cannot be listened on (%s); choose another port",
            settings.NOTIFIER_METRICS_ADDRESS, port, error.strerror,
        )  # fmt: skip
        return False
    return True
