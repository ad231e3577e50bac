"""The connections that libcurl keeps for another request: whether one is still open, and with whom none is used again.

libcurl 8.22 and later looks at most once a second whether a kept connection is still open, and makes up for it by sending
again on another connection what a partner may have had already (https://github.com/curl/curl/pull/22169).
"""

from __future__ import annotations

import re
import select
import time

import pycurl

from deliveries.transport.request import ClientCertificate

# A partner that drops kept connections without a word gets a new one for each request for this long.
DISTRUST_SECONDS = 600
_ORIGIN = re.compile(r"https?://[^/?#]+")

Endpoints = tuple[str, int, int]  # remote address, remote port, local port


class Kept:
    """Lives in the engine's thread."""

    def __init__(self) -> None:
        self._sockets: dict[Endpoints, int] = {}
        self._endpoints: dict[int, Endpoints] = {}
        # Of connections that were made with a client certificate.
        self._clients: dict[Endpoints, ClientCertificate] = {}
        self._distrusted_until: dict[str, float] = {}

    def note(self, easy: pycurl.Curl, client: ClientCertificate | None = None) -> None:
        """A transfer has ended: remember the socket of its connection, should libcurl have kept it, and as whom."""
        descriptor = easy.getinfo(pycurl.ACTIVESOCKET)
        if descriptor < 0:
            return
        ends = (easy.getinfo(pycurl.PRIMARY_IP), easy.getinfo(pycurl.PRIMARY_PORT), easy.getinfo(pycurl.LOCAL_PORT))
        before = self._endpoints.get(descriptor)
        if before != ends:
            if before is not None:
                self._sockets.pop(before, None)
                self._clients.pop(before, None)
            self._endpoints[descriptor] = ends
        self._sockets[ends] = descriptor
        if client is None:
            self._clients.pop(ends, None)
        else:
            self._clients[ends] = client

    def is_open(self, client: ClientCertificate | None, remote_ip: str, remote_port: int, local_port: int) -> bool:
        """Whether a kept connection was made as that client, and nothing is to be read from it: not its end, nor an
        answer that nobody asked for.

        libcurl keeps connections of different certificates apart as well; this does not rely on it.
        """
        ends = (remote_ip, remote_port, local_port)
        descriptor = self._sockets.get(ends)
        if descriptor is None or self._clients.get(ends) != client:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)

    def distrust(self, url: str) -> None:
        """A kept connection broke under a request: for a while none is used again with that partner."""
        now = time.monotonic()
        self._distrusted_until = {origin: until for origin, until in self._distrusted_until.items() if until > now}
        if origin := _ORIGIN.match(url):
            self._distrusted_until[origin[0]] = now + DISTRUST_SECONDS

    def distrusts(self, url: str) -> bool:
        origin = _ORIGIN.match(url)
        return origin is not None and self._distrusted_until.get(origin[0], 0.0) > time.monotonic()
