"""The connections that libcurl keeps for another request, or shares among several: whether one may be used once more.

libcurl 8.22 and later looks at most once a second whether a kept connection is still open, and makes up for it by sending
again on another connection what a partner may have had already (https://github.com/curl/curl/pull/22169).
"""

from __future__ import annotations

import select

import pycurl

from deliveries.transport.guard import Endpoints
from deliveries.transport.request import ClientCertificate
from deliveries.transport.transfer import Transfer


class Kept:
    """Lives in the engine's thread."""

    def __init__(self) -> None:
        self._sockets: dict[Endpoints, int] = {}
        self._endpoints: dict[int, Endpoints] = {}
        # Of connections that were made with a client certificate.
        self._clients: dict[Endpoints, ClientCertificate] = {}
        # How many transfers that may share a connection are on which one.
        self._sharing: dict[Endpoints, int] = {}

    def joined(self, ends: Endpoints) -> None:
        """A transfer that may share its connection is about to send its request on this one."""
        self._sharing[ends] = self._sharing.get(ends, 0) + 1

    def note(self, easy: pycurl.Curl, transfer: Transfer) -> None:
        """A transfer has ended: remember the socket of its connection, should libcurl have kept it, and as whom."""
        if transfer.guard.shares is not None:
            self._left(transfer.guard.shares)
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
        if transfer.outgoing.client is None:
            self._clients.pop(ends, None)
        else:
            self._clients[ends] = transfer.outgoing.client

    def is_shared(self, transfer: Transfer) -> bool:
        """Whether others are on the connection of a transfer that has ended."""
        return transfer.guard.shares in self._sharing

    def is_open(
        self, client: ClientCertificate | None, may_share: bool, remote_ip: str, remote_port: int, local_port: int
    ) -> bool:
        """Whether a connection that another transfer made was made as the same client, and nothing is to be read from
        it: not its end, nor an answer that nobody asked for.

        With who speaks HTTP/2 (``may_share``), one that others are on is looked after by libcurl, and an answer there names its request. No client certificate
        was shown on it, as HTTP/2 is not spoken with one. libcurl keeps connections of different certificates apart as
        well; this does not rely on it.
        """
        ends = (remote_ip, remote_port, local_port)
        if may_share and ends in self._sharing:
            return True
        descriptor = self._sockets.get(ends)
        if descriptor is None or self._clients.get(ends) != client:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)

    def _left(self, ends: Endpoints) -> None:
        others = self._sharing[ends] - 1
        if others:
            self._sharing[ends] = others
        else:
            del self._sharing[ends]
