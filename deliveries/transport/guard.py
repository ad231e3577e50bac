"""Which addresses may be connected to: decided on the socket's real address, at each connection."""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address

import pycurl

from notifier.policy.destination import forbidden_address


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

    ``stale`` says that a kept connection broke before a response, ``trouble`` that no socket could be had.
    """

    __slots__ = ("_allow_private_cidrs", "_asked", "_permitted", "_refusal", "stale", "trouble")

    def __init__(self, allow_private_cidrs: Collection[str]) -> None:
        self._allow_private_cidrs = allow_private_cidrs
        self._asked = self._permitted = self.stale = False
        self._refusal: str | None = None
        self.trouble: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing may be reached; None where an address might be, even if another of the same name might not."""
        return None if self._permitted else self._refusal

    def open_socket(self, purpose: int, address: tuple[int, int, int, tuple[str | bytes, ...]]) -> _Lent | int:
        """libcurl's OPENSOCKETFUNCTION: a socket for an address that may be reached, else SOCKET_BAD."""
        family, kind, protocol, where = address
        if family not in (socket.AF_INET, socket.AF_INET6) or not self._permits(where[0]):
            return int(pycurl.SOCKET_BAD)
        self._permitted = True
        try:
            return _Lent(socket.socket(family, kind, protocol))
        except OSError as error:
            self.trouble = f"the worker cannot open a socket: {error.strerror}"
            return int(pycurl.SOCKET_BAD)

    def before_request(self, remote_ip: str, local_ip: str, remote_port: int, local_port: int) -> int:
        """libcurl's PREREQFUNCTION: a kept connection may have been opened under another partner's rules.

        libcurl asks again where a kept connection broke before a response, to send the request once more, which the
        partner may have had already (measured: six times in one attempt).
        """
        if self._asked:
            self.stale = True
            return int(pycurl.PREREQFUNC_ABORT)
        self._asked = True
        self._permitted = self._permits(remote_ip)
        return int(pycurl.PREREQFUNC_OK if self._permitted else pycurl.PREREQFUNC_ABORT)

    def _permits(self, host: str | bytes) -> bool:
        text = host.decode() if isinstance(host, bytes) else host
        reason = forbidden_address(ip_address(text), self._allow_private_cidrs)
        if reason is not None:
            self._refusal = f"{text} may not be connected to: {reason}"
        return reason is None
