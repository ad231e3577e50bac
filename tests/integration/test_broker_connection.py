"""The worker's broker connection, when the broker's end is gone."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from kombu import Connection, Consumer, Queue
from kombu.exceptions import OperationalError
from kombu.message import Message

from config.broker import LastingConnection, LastingSentinelTransport, LastingTransport
from config.celery import app
from notifier.wake import Sender
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


def test_a_channel_keeps_its_client(valkey: Valkey) -> None:
    with LastingConnection(valkey.url) as connection:
        channel: Any = connection.default_channel

        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel.pool.disconnect()
        with channel.conn_or_acquire() as still:
            assert still.ping()


def test_what_a_worker_takes_is_not_noted_in_the_broker(valkey: Valkey) -> None:
    """Nothing is left behind by a worker that dies with it, to come back when nobody needs it."""
    got: list[Message] = []
    with LastingConnection(valkey.url) as connection:
        channel: Any = connection.default_channel
        consumer = app.amqp.TaskConsumer(channel, queues=[Queue("wakes")])
        consumer.register_callback(lambda body, message: got.append(message))
        with consumer:
            connection.Producer().publish({}, routing_key="wakes")
            while not got:
                connection.drain_events(timeout=5)
            with redis.Redis.from_url(valkey.url) as broker:
                assert broker.exists("unacked", "unacked_index", "wakes") == 0
                asked = broker.info("stats")["total_commands_processed"]
                # As Celery does with a task's once it has run.
                got[0].ack()
                assert broker.info("stats")["total_commands_processed"] == asked + 1
        assert not channel.qos._dirty


def test_wakes_are_sent_again_after_the_broker_was_away(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.conf, "broker_write_url", valkey.url)
    send = Sender()

    def waiting() -> int:
        with redis.Redis.from_url(valkey.url) as broker:
            return int(broker.llen(settings.NOTIFIER_QUEUE))

    send(["a"])
    send(["b"])
    assert waiting() == 2
    valkey.stop()
    with pytest.raises(OperationalError):
        send(["c"])
    valkey.start()
    kept = waiting()
    send(["d"])
    assert waiting() == kept + 1
    send.close()
