"""The connection to Redis or Valkey: outlives the server's end, and is there again a second after it is back."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis
from redis import exceptions

RECONNECT_MAX_SECONDS = 1.0


class LastingChannel(redis.Channel):
    """Raises a connection error where it is used after its connection was closed.

    A broker that dies while messages are being handled leaves acknowledgements and unacknowledged messages behind on a
    closed channel. kombu answers those with AttributeError (kombu issue 582), which nobody expects, and Celery ends the
    worker: measured, at one broker's end in ten under load. A connection error is what it takes in its stride.
    """

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection.client is None:
            raise exceptions.ConnectionError("this channel's connection to the broker is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]  # the stub does not know it


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
    Connection = LastingConnection
