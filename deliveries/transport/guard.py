"""Which addresses may be connected to: decided on the socket's real address, at each connection."""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address

import pycurl

from notifier.policy.destination import forbidden_address


class _Lent(socket.socket):
    """Given to libcurl, which works on a duplicate of its own; this one is closed as soon as it is let go."""

    def __del__(self) -> None:
        self.close()


class Guard:
    """The gate of one transfer, called by libcurl before each connect and before each request on a kept connection."""

    __slots__ = ("_allow_private_cidrs", "refusal")

    def __init__(self, allow_private_cidrs: Collection[str]) -> None:
        self._allow_private_cidrs = allow_private_cidrs
        self.refusal: str | None = None

    def open_socket(self, purpose: int, address: tuple[int, int, int, tuple[str | bytes, ...]]) -> socket.socket | int:
        """libcurl's OPENSOCKETFUNCTION: a socket for an address that may be reached, else SOCKET_BAD."""
        family, kind, protocol, where = address
        if family not in (socket.AF_INET, socket.AF_INET6) or not self.permits(where[0]):
            return int(pycurl.SOCKET_BAD)
        return _Lent(family, kind, protocol)

    def before_request(self, remote_ip: str, local_ip: str, remote_port: int, local_port: int) -> int:
        """libcurl's PREREQFUNCTION: a kept connection may have been opened under another partner's rules."""
        return int(pycurl.PREREQFUNC_OK if self.permits(remote_ip) else pycurl.PREREQFUNC_ABORT)

    def permits(self, host: str | bytes) -> bool:
        text = host.decode() if isinstance(host, bytes) else host
        reason = forbidden_address(ip_address(text), self._allow_private_cidrs)
        if reason is not None:
            self.refusal = f"{text} may not be connected to: {reason}"
        return reason is None
