"""Which addresses may be connected to: decided on the socket's real address, at each connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
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

    Nothing in here may raise: pycurl would raise it again in the engine's loop, which ends the process.
    ``unusable`` says that nothing was sent because the kept connection was closed or is not for this partner, ``stale``
    that a kept connection broke under the request, ``trouble`` that no socket could be had.
    """

    __slots__ = ("_allow_private_cidrs", "_asked", "_is_open", "_permitted", "_refusal", "stale", "trouble", "unusable")

    def __init__(self, allow_private_cidrs: Collection[str], is_open: Callable[[str, int, int], bool]) -> None:
        self._allow_private_cidrs = allow_private_cidrs
        self._is_open = is_open
        self._asked = self._permitted = self.stale = self.unusable = False
        self._refusal: str | None = None
        self.trouble: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing may be reached; None where an address might be, even if another of the same name may not."""
        return None if self._permitted else self._refusal

    def open_socket(self, purpose: int, address: tuple[int, int, int, tuple[str | bytes, ...]]) -> _Lent | int:
        """libcurl's OPENSOCKETFUNCTION: a socket for an address that may be reached, else SOCKET_BAD.

        Where a kept connection broke before a response, libcurl comes for another one, to send the request once more,
        which the partner may have had already (measured: six times in one attempt).
        """
        if self._asked:
            self.stale = True
            return int(pycurl.SOCKET_BAD)
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
        """libcurl's PREREQFUNCTION: a kept connection may have been opened under another partner's rules, or be closed."""
        if self._asked:  # it would send once more, on the next kept connection
            self.stale = True
            return int(pycurl.PREREQFUNC_ABORT)
        self._asked = True
        kept = not self._permitted
        if kept and not (self._permits(remote_ip) and self._is_open(remote_ip, remote_port, local_port)):
            self.unusable = True
            return int(pycurl.PREREQFUNC_ABORT)
        return int(pycurl.PREREQFUNC_OK)

    def _permits(self, host: str | bytes) -> bool:
        text = host.decode() if isinstance(host, bytes) else host
        try:
            reason = forbidden_address(ip_address(text), self._allow_private_cidrs)
        except ValueError as error:
            reason = str(error)  # what cannot be understood is refused
        if reason is not None:
            self._refusal = f"{text} may not be connected to: {reason}"
        return reason is None
