"""A broker that goes away while a worker holds messages: what Celery then does with connection and messages must not raise."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Queue

from config.celery import app
from tests.support.servers import Valkey

logger = logging.getLogger(__name__)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.stop()


class Worker:
    """A consumer on each of two channels, as a worker has: each holds a message, and waits for the next one."""

    def __init__(self, url: str) -> None:
        self.messages: list[Any] = []
        self.connection: Any = app.connection(url)
        self.errors = self.connection.connection_errors + self.connection.channel_errors
        for number, channel in enumerate((self.connection.default_channel, self.connection.channel())):
            queue = Queue(f"lost-{number}", routing_key=f"lost-{number}")
            self.connection.Producer(channel).publish({}, routing_key=queue.routing_key, declare=[queue])
            self.connection.Consumer([queue], channel=channel, on_message=self.messages.append).consume()
        while len(self.messages) < 2:
            self.connection.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            self.connection.drain_events(timeout=0.1)

    def lose_connection(self) -> None:
        """What Celery's consumer does when its connection breaks (``on_connection_error_after_connected``)."""
        self.connection.collect(socket_timeout=5)
        self.connection.close()


@pytest.mark.parametrize("back", [False, True], ids=["gone", "back again"])
def test_losing_the_broker_with_messages_in_hand_ends_no_worker(broker: Valkey, back: bool) -> None:
    worker = Worker(broker.url)
    broker.stop()
    if back:
        broker.start()

    worker.lose_connection()

    # Their tasks end later than the connection, and acknowledge; that it may fail is expected, and logged.
    for message in worker.messages:
        message.ack_log_error(logger, worker.errors)
