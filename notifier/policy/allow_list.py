"""A partner's allow-list, and the installation's deny-list: entries that name where requests may go.

``[scheme://]host[:port][/path]``, where the host is a name, ``*.suffix`` (any name below the suffix, never the suffix itself),
an address (IPv6 in brackets) or ``*`` (any host). The port is a number or ``*``; without one it is 80 or 443, or the
scheme's own where there is a scheme. A path admits itself and what is below it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from notifier.policy import destination
from notifier.policy.destination import DEFAULT_PORTS, Target, TargetError

_ENTRY = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]+)(?::(?P<port>\*|[0-9]{1,5}))?(?P<path>/.*)?",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+")
_WEB_PORTS = (80, 443)
# What is encoded more often than this is taken for an attempt to hide something.
_MOST_ENCODED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, read. ``suffix`` begins with a dot; neither host nor suffix: any host. No port: the usual ones."""

    scheme: str | None
    host: str | None
    suffix: str | None
    port: int | None
    any_port: bool
    path: str

    def names(self, where: Target) -> bool:
        """Whether it is this scheme and host."""
        if self.scheme is not None and self.scheme != where.scheme:
            return False
        if self.suffix is not None:
            return where.host.endswith(self.suffix) and where.address is None
        return self.host is None or self.host == where.host

    def admits(self, where: Target) -> bool:
        """Whether it is this scheme, host, port and path."""
        if not self.names(where):
            return False
        if not self.any_port:
            usual = _WEB_PORTS if self.scheme is None else (DEFAULT_PORTS[self.scheme],)
            if where.port not in (usual if self.port is None else (self.port,)):
                return False
        return not self.path or _below(where.path, self.path)


@lru_cache(maxsize=8192)
def read(entry: str) -> Entry:
    """The entry, or ``ValueError`` with what is wrong with it."""
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(
            f"{entry!r} is not a host, *.suffix or *, with an optional http:// or https://, :port and /path"
        )
    if match["port"] not in (None, "*") and not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"{entry!r} has a port that is not between 1 and 65535")
    path = match["path"] or ""
    if path and (not _PATH.fullmatch(path) or _ambiguous(path)):
        raise ValueError(
            f"{entry!r} has a path that is not plain: no query, no . or .. in it, other characters as in a URL"
        )
    try:
        host, suffix = _host(match["host"])
    except TargetError as error:
        raise ValueError(f"{entry!r} is not usable: {error}") from None
    return Entry(
        scheme=match["scheme"].lower() if match["scheme"] else None,
        host=host,
        suffix=suffix,
        port=None if match["port"] in (None, "*") else int(match["port"]),
        any_port=match["port"] == "*",
        path="" if path == "/" else path,
    )


def check_deny_entry(entry: str) -> None:
    """Raise ``ValueError`` where an entry cannot stand in a deny-list, in which a path would promise too much."""
    if read(entry).path:
        raise ValueError(f"{entry!r} has a path; a deny-list names hosts")


def allowed(where: Target, allow_hosts: Collection[str]) -> bool:
    """Whether an entry admits the target. An empty list allows nothing, and neither does an entry that cannot be read."""
    for entry in allow_hosts:  # noqa: SIM110 - asked for each attempt, and a generator takes as long as the answer
        if _admits(where, entry):
            return True
    return False


def denied(where: Target, deny_hosts: Collection[str]) -> bool:
    """Whether an entry names the target; one without a port names all ports."""
    for text in deny_hosts:
        entry = read(text)
        if entry.names(where) and entry.port in (None, where.port):
            return True
    return False


def _admits(where: Target, entry: str) -> bool:
    try:
        return read(entry).admits(where)
    except ValueError:
        return False


def _host(host: str) -> tuple[str | None, str | None]:
    if host == "*":
        return None, None
    if host.startswith("["):
        return destination.ipv6(host[1:-1]), None
    if host.startswith("*."):
        return None, "." + destination.name(host[2:])
    return destination.name(host), None


def _below(path: str, prefix: str) -> bool:
    """Whether a server would take the path for the prefix or something below it, however it reads the path."""
    if path != prefix and not path.startswith(prefix if prefix.endswith("/") else prefix + "/"):
        return False
    return not _ambiguous(path)


def _ambiguous(path: str) -> bool:
    """Whether a server may leave the folder: dot segments, plain, encoded (even twice) or with parameters (``..;x``)."""
    for _ in range(_MOST_ENCODED):
        if any(segment.partition(";")[0] in (".", "..") for segment in re.split(r"[/\\]", path)):
            return True
        try:
            plain = unquote(path, errors="strict")
        except UnicodeDecodeError:  # such as %c0%ae, which some take for a dot
            return True
        if plain == path:
            return False
        path = plain
    return True
