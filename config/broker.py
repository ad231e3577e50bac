"""The connection to Redis or Valkey: outlives the server's end, and is there again a second after it is back."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis
from redis import exceptions

RECONNECT_MAX_SECONDS = 1.0


class _QoS(redis.QoS):
    """Acknowledges what was noted alone. kombu does not know of a message that it was taken without acknowledgement: it would ask
    the broker to forget it, and remember that it did, until the channel is closed.
    """

    def ack(self, delivery_tag: Any) -> None:
        if delivery_tag in (self._delivered or ()):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        if delivery_tag in (self._delivered or ()):
            super().reject(delivery_tag, requeue=requeue)


class LastingChannel(redis.Channel):
    """Raises a connection error where it is used after its connection was closed, and keeps its client.

    A broker that dies while messages are being handled leaves acknowledgements and unacknowledged messages behind on a
    closed channel. kombu answers those with AttributeError (kombu issue 582), which nobody expects, and Celery ends the
    worker: measured, at one broker's end in ten under load. A connection error is what it takes in its stride.

    kombu makes a client of redis-py for each command, and another for each acknowledgement. That is a third of the processor
    time of a publish; a client holds nothing but the pool that its connections come from, and may be used by any thread.
    """

    QoS = _QoS
    _client_of: tuple[Any, Any] | None = None

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection.client is None:
            raise exceptions.ConnectionError("this channel's connection to the broker is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]  # the stub does not know it

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # the stub does not know it
        pool, kept = self.pool, self._client_of
        if kept is None or kept[0] is not pool:
            kept = self._client_of = (pool, super()._create_client())  # type: ignore[misc]  # the stub does not know it
        return kept[1]


class LastingSentinelChannel(LastingChannel, redis.SentinelChannel):
    pass


class LastingTransport(redis.Transport):
    Channel = LastingChannel


class LastingSentinelTransport(redis.SentinelTransport):
    Channel = LastingSentinelChannel


class LastingConnection(Connection):
    """Tries again every second: kombu's default waits up to 30 s between tries after a long outage."""

    def get_transport_cls(self) -> type[Any]:
        sentinel = issubclass(super().get_transport_cls(), redis.SentinelTransport)
        return LastingSentinelTransport if sentinel else LastingTransport

    def ensure_connection(self, *args: Any, **kwargs: Any) -> LastingConnection:
        kwargs.setdefault("interval_start", RECONNECT_MAX_SECONDS)
        kwargs.setdefault("interval_max", RECONNECT_MAX_SECONDS)
        super().ensure_connection(*args, **kwargs)
        return self


class LastingAMQP(AMQP):
    """Of connections as above, and messages that are taken without acknowledgement.

    A message is a hint: of one that a worker took with it when it died, the sweep knows a second later. To note each in the
    broker and to take it off again would be half of what receiving it costs, and what was noted would come back only after
    minutes, when it is of no use.
    """

    Connection = LastingConnection

    def TaskConsumer(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - Celery's name
        return super().TaskConsumer(*args, **{"no_ack": True, **kwargs})
