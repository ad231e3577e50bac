"""The worker's broker connection, when the broker's end is gone."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Consumer, Queue
from kombu.message import Message

from config.broker import LastingConnection, LastingSentinelTransport, LastingTransport
from config.celery import app
from tests.support.servers import Valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.stop()


def _polling_with_an_unacknowledged_message(connection: Connection) -> Message:
    """As a worker is while it handles a message: two channels wait for more."""
    got: list[Message] = []
    channels = {"wakes": connection.default_channel, "control": connection.channel()}
    for name, channel in channels.items():
        Queue(name)(channel).declare()
        Consumer(channel, [Queue(name)], on_message=got.append, prefetch_count=2).consume()
    connection.Producer().publish({}, routing_key="wakes")
    while not got:
        connection.drain_events(timeout=5)
    for channel in channels.values():
        connection.transport.cycle._register_BRPOP(channel)  # type: ignore[attr-defined]  # the Redis transport has one
    return got[0]


def test_a_connection_whose_broker_died_amid_a_message_can_be_closed_and_the_message_be_acknowledged(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    """As Celery does before and after it connects anew: any error but a connection's would end the worker."""
    options = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "max_retries": 0}
    connection = LastingConnection(valkey.url, transport_options=options)
    message = _polling_with_an_unacknowledged_message(connection)
    errors = connection.connection_errors
    valkey.stop(signal.SIGKILL)

    connection.collect(socket_timeout=1)
    connection.close()
    with caplog.at_level(logging.CRITICAL):
        message.ack_log_error(logging.getLogger(), errors)

    (record,) = caplog.records
    assert "Couldn't ack" in record.getMessage()
    assert not message.acknowledged


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("redis://localhost/0", LastingTransport),
        ("rediss://localhost/0", LastingTransport),
        ("redis+socket:///run/valkey.sock", LastingTransport),
        ("sentinel://localhost:26379", LastingSentinelTransport),
    ],
)
def test_every_kind_of_address_gets_a_lasting_connection(url: str, transport: type) -> None:
    connection = app.connection_for_write(url)

    assert isinstance(connection, LastingConnection)
    assert type(connection.transport) is transport
