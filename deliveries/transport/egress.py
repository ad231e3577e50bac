"""How requests leave: where nobody may be connected to whatever a partner's rules say, and the proxy, if there is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import pycurl

from deliveries.transport.request import REMEMBERED
from notifier.listeners import Endpoint, Endpoints
from notifier.policy.addresses import Address

_HOST = re.compile(r"https?://(?:\[([^\]]*)\]|([^/?#:\[\]]*))(?::([0-9]{1,5}))?(?=[/?#]|$)", re.IGNORECASE)
# libcurl's CURLOPT_SUPPRESS_CONNECT_HEADERS, which pycurl has no name for: the proxy's answer is not the partner's.
_SUPPRESS_CONNECT_HEADERS = 265
# How long a start waits for names that the rules need.
FIRST_LOOKUP_SECONDS = 5.0


def _nothing_is_ours(address: Address, port: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy through which everything goes, by CONNECT, to addresses that have been looked up and checked here.

    It is never told a name, which it would look up again, and could get another answer for.
    """

    endpoint: Endpoint
    # Those of the proxy itself, now.
    addresses: Callable[[], tuple[str, ...]]
    credentials: str = field(default="", repr=False)  # user:password

    def configure(self, easy: pycurl.Curl, *, host: str, port: int, address: str) -> None:
        """Let this transfer go through the proxy, to this address of the host."""
        proxy = f"{bracketed(self.endpoint.host)}:{self.endpoint.port}"
        easy.setopt(pycurl.PROXY, f"http://{proxy}")
        easy.setopt(pycurl.NOPROXY, "")
        easy.setopt(pycurl.HTTPPROXYTUNNEL, 1)
        easy.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        easy.setopt(pycurl.CONNECT_TO, [f"{bracketed(host)}:{port}:{bracketed(address)}:{port}"])
        if self.credentials:
            easy.setopt(pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC)
            easy.setopt(pycurl.PROXYUSERPWD, self.credentials)
        if known := self.addresses():
            easy.setopt(pycurl.RESOLVE, [f"+{proxy}:{','.join(map(bracketed, known))}"])


@dataclass(frozen=True, slots=True)
class Egress:
    """The rules of the installation, the same for all partners."""

    deny_cidrs: tuple[str, ...] = ()
    is_own_listener: Callable[[Address, int], bool] = _nothing_is_ours
    proxy: Proxy | None = None


def proxy_at(url: str) -> Proxy | None:
    """The proxy of ``http://[user:password@]host:port``, its name being looked up from now on; None for no URL.

    Waits for the first lookup for a while. Until its name is known, nothing can be connected to.
    """
    if not url:
        return None
    parts = urlsplit(url)
    endpoint = Endpoint(parts.hostname or "", parts.port or 0)
    endpoints = Endpoints([endpoint])
    endpoints.start(wait_seconds=FIRST_LOOKUP_SECONDS)
    return Proxy(
        endpoint=endpoint,
        addresses=lambda: tuple(map(str, endpoints.addresses(endpoint))),
        credentials=f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else "",
    )


@lru_cache(maxsize=REMEMBERED)
def host_and_port(url: str) -> tuple[str, int]:
    """Of a URL to send; the host without brackets. ("", 0) where it has none."""
    found = _HOST.match(url)
    if found is None:
        return "", 0
    return found[1] or found[2], int(found[3] or (443 if url[:5].lower() == "https" else 80))


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
