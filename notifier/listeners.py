"""Where the service itself listens: the database, the broker, web. No partner may have anything sent there."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from notifier.policy.addresses import Address, forms

# Names are looked up anew this often. A database or a broker that moves is known by its new address after that.
REFRESH_SECONDS = 60.0
_BROKER = re.compile(r"(?P<scheme>[a-z+]+)://(?:.*@)?(?P<host>\[[^\]]*\]|[^:/?#]*)(?::(?P<port>[0-9]+))?")
_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379}
_MYSQL_PORT = 3306

LookUp = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name or an address without brackets, and a port."""

    host: str
    port: int


def look_up(host: str) -> tuple[str, ...]:
    """What the system's resolver says: files, DNS, or whatever the machine is set up for. Raises ``OSError``."""
    return tuple(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


class Endpoints:
    """Endpoints, and the addresses that their names stand for now.

    Safe for threads. A name that has not been looked up yet, or that nobody can look up, stands for no address; one whose
    lookup fails keeps the addresses it had.
    """

    def __init__(self, endpoints: Iterable[Endpoint], *, look_up: LookUp = look_up) -> None:
        self._endpoints = tuple(endpoints)
        self._look_up = look_up
        self._ports = frozenset(endpoint.port for endpoint in self._endpoints)
        self._addresses: dict[Endpoint, tuple[Address, ...]] = {}
        self._lock = threading.Lock()
        self._started = False
        self._known = threading.Event()
        for endpoint in self._endpoints:
            if address := _literal(endpoint.host):
                self._addresses[endpoint] = (address,)
            elif endpoint.host == "localhost":
                self._addresses[endpoint] = tuple(map(ipaddress.ip_address, ("127.0.0.1", "::1")))

    def start(self, *, wait_seconds: float = 0.0) -> None:
        """Look the names up in a thread of its own, again and again; wait for the first time so long at most."""
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="listeners", daemon=True).start()
        self._known.wait(wait_seconds)

    def refresh(self) -> None:
        """Look the names up, once. Takes as long as the resolver takes."""
        for endpoint in self._endpoints:
            if _literal(endpoint.host) is None and endpoint.host != "localhost":
                try:
                    found = self._look_up(endpoint.host)
                except (OSError, UnicodeError):
                    continue
                self._addresses[endpoint] = tuple(ipaddress.ip_address(text.partition("%")[0]) for text in found)
        self._known.set()

    def addresses(self, endpoint: Endpoint) -> tuple[Address, ...]:
        """What one of the endpoints stands for now."""
        return self._addresses.get(endpoint, ())

    def has(self, address: Address, port: int) -> bool:
        """Whether the service listens there. Of a listener on this machine every address of the machine is one."""
        if port not in self._ports:
            return False
        asked = forms(address)
        for endpoint in self._endpoints:
            if endpoint.port != port:
                continue
            known = [form for address in self.addresses(endpoint) for form in forms(address)]
            if any(form in known for form in asked) or (any(map(_is_here, asked)) and any(map(_is_here, known))):
                return True
        return False

    def _run(self) -> None:
        while True:
            self.refresh()
            threading.Event().wait(REFRESH_SECONDS)


def endpoint(text: str) -> Endpoint:
    """``host:port`` or ``[IPv6]:port``; ``ValueError`` with the reason."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r} is not host:port")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare and (bare == host or _literal(bare) is None):
        raise ValueError(f"{text!r} is not host:port; an IPv6 address stands in brackets")
    return Endpoint(bare.lower(), int(port))


def own_endpoints(database: Mapping[str, Any], broker: str, others: Iterable[str]) -> list[Endpoint]:
    """The service's listeners by its settings. Unix sockets and SQLite are none."""
    found = [endpoint(other) for other in others]
    if database["ENGINE"].endswith("mysql") and not str(database.get("HOST") or "").startswith("/"):
        found.append(
            Endpoint(str(database.get("HOST") or "localhost").lower(), int(database.get("PORT") or _MYSQL_PORT))
        )
    for url in broker.split(";"):
        match = _BROKER.match(url)
        if match is not None and match["scheme"] in _DEFAULT_PORTS:
            host = match["host"].strip("[]").lower() or "localhost"
            found.append(Endpoint(host, int(match["port"] or _DEFAULT_PORTS[match["scheme"]])))
    return found


def from_settings() -> Endpoints:
    """Not started."""
    return Endpoints(
        own_endpoints(settings.DATABASES["default"], settings.CELERY_BROKER_URL, settings.NOTIFIER_OWN_LISTENERS)
        + [
            Endpoint("localhost", port)
            for port in (settings.NOTIFIER_WORKER_METRICS_PORT, settings.NOTIFIER_BEAT_METRICS_PORT)
            if port
        ]
    )


@lru_cache(maxsize=1)
def shared() -> Endpoints:
    """This process's, started: the first to ask does not wait for the names to be looked up."""
    listeners = from_settings()
    listeners.start()
    return listeners


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_here(address: Address) -> bool:
    """Whether it is an address of this machine: one that a socket can be bound to."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
