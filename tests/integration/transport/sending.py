"""One request through an engine, as the dispatcher hands it over, and the exchange that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import certifi
import requests
from requests.structures import CaseInsensitiveDict

from deliveries.transport import names
from deliveries.transport.egress import Egress
from deliveries.transport.engine import Engine
from deliveries.transport.handle import CONNECTION_MAX_AGE_SECONDS
from deliveries.transport.names import LookUp
from deliveries.transport.request import ClientCertificate, Limits, Outgoing
from notifier.policy.exchange import Exchange

# What a partner on this machine needs: nothing of it is publicly routable.
LOOPBACK = ("127.0.0.0/8", "::1/128")
READ_BYTES = 65_536
# A future that is still open after this long is a failure of the engine itself.
PATIENCE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Sender:
    """A running engine in the hands of a test."""

    engine: Engine

    def send(
        self,
        url: str,
        method: str = "POST",
        body: bytes | None = b"body",
        *,
        headers: Mapping[str, str] | None = None,
        total: float = 5.0,
        connect: float | None = None,
        cidrs: tuple[str, ...] = LOOPBACK,
        client: ClientCertificate | None = None,
    ) -> Exchange:
        request = outgoing(url, method, body, headers=headers, total=total, connect=connect, cidrs=cidrs, client=client)
        return self.engine.submit(request).result(PATIENCE_SECONDS)


def new_engine(
    *,
    ca_file: str | None = None,
    read_bytes: int = READ_BYTES,
    look_up: LookUp = names.look_up,
    egress: Egress = Egress(),
    connection_max_age: int = CONNECTION_MAX_AGE_SECONDS,
) -> Engine:
    engine = Engine(
        ca_file=ca_file or certifi.where(), read_bytes=read_bytes, look_up=look_up, egress=egress,
        connection_max_age=connection_max_age,
    )  # fmt: skip
    engine.start()
    return engine


def outgoing(
    url: str,
    method: str = "POST",
    body: bytes | None = b"body",
    *,
    headers: Mapping[str, str] | None = None,
    total: float = 5.0,
    connect: float | None = None,
    cidrs: tuple[str, ...] = LOOPBACK,
    client: ClientCertificate | None = None,
) -> Outgoing:
    request = requests.PreparedRequest()
    request.method, request.url, request.body = method, url, body
    request.headers = CaseInsensitiveDict(headers or {})
    limits = Limits(connect_timeout=connect or total, total_timeout=total, allow_private_cidrs=cidrs)
    return Outgoing(request, limits, client)
