"""Which addresses may be connected to: decided on the socket's real address, at each connection.

And before that, on everything that a lookup answered: one address that may not be connected to, and the host is refused,
because which of its addresses would be tried next is not ours to say.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Collection
from functools import lru_cache
from ipaddress import ip_address

import pycurl

from deliveries.transport.egress import Egress
from notifier.policy.addresses import OWN_LISTENER, Address, forbidden_address

# At DEBUG, each socket that is opened and each that is refused.
logger = logging.getLogger(__name__)


Endpoints = tuple[str, int, int]  # of a connection: remote address, remote port, local port


class _Lent:
    """A socket for libcurl, which works on a duplicate of its own; this one is closed as soon as it is let go."""

    __slots__ = ("_socket",)

    def __init__(self, lent: socket.socket) -> None:
        self._socket = lent

    def fileno(self) -> int:
        return self._socket.fileno()

    def __del__(self) -> None:
        self._socket.close()


class Guard:
    """The gate of one transfer, called by libcurl before each connect and before each request on whatever connection.

    Nothing in here may raise: pycurl would raise it again in the engine's loop, which ends the process.
    ``unusable`` says that nothing was sent because the kept connection was closed or is not for this partner, ``stale``
    that a kept connection broke under the request or HTTP/2's stream was refused, ``trouble`` that no socket could be had, ``shares`` on which connection
    a request went that others may share.
    """

    __slots__ = (
        "_allow_private_cidrs", "_asked", "_egress", "_is_open", "_joined", "_permitted", "_refusal", "shares", "stale", "trouble",
        "unusable",
    )  # fmt: skip

    def __init__(
        self,
        allow_private_cidrs: Collection[str],
        is_open: Callable[[str, int, int], bool],
        egress: Egress,
        joined: Callable[[Endpoints], None] | None = None,
    ) -> None:
        self._allow_private_cidrs = tuple(allow_private_cidrs)
        self._is_open = is_open
        self._egress = egress
        self._joined = joined
        self._asked = self._permitted = self.stale = self.unusable = False
        self._refusal: str | None = None
        self.trouble: str | None = None
        self.shares: Endpoints | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing may be reached; None where an address might be, even if another of the same name may not."""
        return None if self._permitted else self._refusal

    @property
    def asked(self) -> bool:
        """Whether libcurl came to the point of sending the request."""
        return self._asked

    def refuses(self, host: str, port: int, answers: Collection[str]) -> str | None:
        """Why a host must not be asked for, by everything that its lookup answered; None where all of it is permitted."""
        for address in answers:
            reason = self._reason(address, port)
            if reason is not None:
                logger.debug("refused %s port %d of %s: %s", address, port, host, reason)
                return f"{host} stands for {address}, which may not be connected to: {reason}"
        return None

    def open_socket(self, purpose: int, address: tuple[int, int, int, tuple[str | bytes, ...]]) -> _Lent | int:
        """libcurl's OPENSOCKETFUNCTION: a socket for an address that may be reached, else SOCKET_BAD.

        Where a kept connection broke before a response, libcurl comes for another one, to send the request once more,
        which the partner may have had already (measured: six times in one attempt).
        """
        if self._asked:
            self.stale = True
            return int(pycurl.SOCKET_BAD)
        family, kind, protocol, where = address
        if family not in (socket.AF_INET, socket.AF_INET6) or not self._permits(where[0], int(where[1])):
            return int(pycurl.SOCKET_BAD)
        self._permitted = True
        logger.debug("connect %s port %s", where[0], where[1])
        try:
            return _Lent(socket.socket(family, kind, protocol))
        except OSError as error:
            self.trouble = f"the worker cannot open a socket: {error.strerror}"
            return int(pycurl.SOCKET_BAD)

    def before_request(self, remote_ip: str, local_ip: str, remote_port: int, local_port: int) -> int:
        """libcurl's PREREQFUNCTION: a kept connection may have been opened under another partner's rules, or be closed."""
        if self._asked:  # it would send once more: on the next kept connection, or as HTTP/2's stream was refused
            self.stale = True
            return int(pycurl.PREREQFUNC_ABORT)
        self._asked = True
        kept = not self._permitted
        if kept and not (self._permits(remote_ip, remote_port) and self._is_open(remote_ip, remote_port, local_port)):
            self.unusable = True
            return int(pycurl.PREREQFUNC_ABORT)
        if self._joined is not None:
            self.shares = (remote_ip, remote_port, local_port)
            self._joined(self.shares)
        return int(pycurl.PREREQFUNC_OK)

    def _permits(self, host: str | bytes, port: int) -> bool:
        text = host.decode() if isinstance(host, bytes) else host
        proxy = self._egress.proxy
        if proxy is None:
            reason = self._reason(text, port)
        elif port == proxy.endpoint.port and text in proxy.addresses():
            reason = None
        else:
            reason = "it is not the egress proxy"
        if reason is not None:
            self._refusal = f"{text} may not be connected to: {reason}"
            logger.debug("refused %s port %d: %s", text, port, reason)
        return reason is None

    def _reason(self, text: str, port: int) -> str | None:
        address, reason = _judge(text, self._allow_private_cidrs, self._egress.deny_cidrs)
        if address is not None and self._egress.is_own_listener(address, port):
            return OWN_LISTENER
        return reason


@lru_cache(maxsize=16_384)
def _judge(text: str, allowed: tuple[str, ...], denied: tuple[str, ...]) -> tuple[Address | None, str | None]:
    """The address, where it is permitted, else why not."""
    try:
        address = ip_address(text)
        reason = forbidden_address(address, allowed, denied)
    except ValueError as error:
        return None, str(error)  # what cannot be understood is refused
    return (address, None) if reason is None else (None, reason)
