"""Where a request may go: one canonical URL, a partner's allow-list, and the addresses that nobody may reach.

Parsed once, strictly, at accept; what is checked is what is sent. ``target`` is pure: names are resolved, and their
addresses checked again with ``forbidden_address``, at the socket (deliveries.transport.guard).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\<>\"^`{|}]")
# Characters that may stand in a path or query as they are (RFC 3986, section 3.3 and 3.4), and those that servers take.
_SAFE = "%/:?@!$&'()*+,;=-._~[]"

# IANA's special-purpose registries, what is not globally routable, and Azure's wire server.
_FORBIDDEN_V4 = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
# Only global unicast is routable; inside it these blocks are not (Teredo, ORCHID, documentation, 6to4, AS112, …).
_GLOBAL_V6 = ip_network("2000::/3")
_FORBIDDEN_V6 = tuple(
    ip_network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)  # fmt: skip
# Credentials of the machine itself: no configuration opens these.
_METADATA = frozenset(
    ip_address(address)
    for address in ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")
)  # fmt: skip


class TargetError(ValueError):
    """The URL is malformed; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A canonical target URL and the parts that rules look at. ``host`` has no brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address, where the host is one."""
        return _address(self.host)


# Producers post to the same few hosts and paths over and over: what they are is worked out once. All of it is pure.
_KEPT = 4096


@lru_cache(maxsize=_KEPT)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


@lru_cache(maxsize=_KEPT)
def _network(block: str) -> IPv4Network | IPv6Network:
    return ip_network(block)


@lru_cache(maxsize=_KEPT)
def target(url: str) -> Target:
    """Parse a URL into its one canonical form, or raise ``TargetError``."""
    if len(url) > MAX_URL_LENGTH:
        raise TargetError(f"it is longer than {MAX_URL_LENGTH} characters")
    if _FORBIDDEN_CHARACTERS.search(url):
        raise TargetError('it has a blank, a control character or one of \\ < > " ^ ` { | }; percent-encode it')
    if "#" in url:
        raise TargetError("it has a fragment (#), which is never sent")
    match = _URL.fullmatch(url)
    if match is None:
        raise TargetError("it is not an absolute URL like https://host/path")
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise TargetError(f"its scheme is {scheme!r}; only http and https are sent")
    host, port = _host_and_port(match["authority"], scheme)
    path, query = match["path"] or "/", match["query"] or ""
    if _PERCENT.search(path + query):
        raise TargetError("it has a % that is not followed by two hexadecimal digits")
    try:
        tail = quote(path, safe=_SAFE) + quote(query, safe=_SAFE)
    except UnicodeEncodeError:
        raise TargetError("it has a character that is not valid Unicode") from None
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    canonical = f"{scheme}://{shown_host}{shown_port}{tail}"
    if len(canonical) > MAX_URL_LENGTH:
        raise TargetError(f"it is longer than {MAX_URL_LENGTH} characters once percent-encoded")
    return Target(canonical, scheme, host, port)


def _host_and_port(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise TargetError("it has a user name or password; send credentials in a header")
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket:
            raise TargetError("its IPv6 address has no closing bracket")
        if rest and not rest.startswith(":"):
            raise TargetError("its IPv6 address is followed by something that is not a port")
        return _ipv6(literal), _port(rest[1:] if rest else "", scheme)
    host, _, port = authority.partition(":")
    return _name(host), _port(port, scheme)


def _ipv6(literal: str) -> str:
    try:
        address = IPv6Address(literal)
    except ValueError:
        raise TargetError("its IPv6 address is not valid") from None
    if "%" in literal:
        raise TargetError("its IPv6 address has a zone, which means something on one machine only")
    return str(address)


def _port(text: str, scheme: str) -> int:
    if not text:
        return DEFAULT_PORTS[scheme]
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise TargetError("its port is not a number between 1 and 65535")
    return int(text)


def _name(host: str) -> str:
    if not host:
        raise TargetError("it has no host")
    if not host.isascii():
        raise TargetError("its host is not ASCII; write an international name in its xn-- form")
    if "%" in host:
        raise TargetError("its host is percent-encoded")
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetError("its host is not a valid name")
    # What a resolver would read as an IPv4 address must be written as one (WHATWG URL, "ends in a number").
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise TargetError("its host is a number but not an IPv4 address in four decimal parts") from None
    return name


_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>\*|[0-9]{1,5}))?")


def check_allow_entry(entry: str) -> None:
    """Raise ``ValueError`` with the reason where an allow-list entry is malformed."""
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is not a host, *.suffix or *, with an optional :port")
    if match["port"] not in (None, "*") and not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"{entry!r} has a port that is not between 1 and 65535")
    host = match["host"]
    if host == "*":
        return
    try:
        if host.startswith("["):
            _ipv6(host[1:-1])
        else:
            _name(host.removeprefix("*."))
    except TargetError as error:
        raise ValueError(f"{entry!r} is not usable: {error}") from None


def host_allowed(where: Target, allow_hosts: Collection[str]) -> bool:
    """Whether the allow-list names the host and port. An empty list allows nothing.

    An entry is a host, ``*.suffix`` (any name below the suffix, never the suffix itself) or ``*`` (any host), with an
    optional ``:port`` or ``:*``. Without a port, a name means ports 80 and 443 and a literal address any port.
    A malformed entry allows nothing.
    """
    return any(_entry_allows(where, entry) for entry in allow_hosts)


@lru_cache(maxsize=_KEPT)
def _entry_allows(where: Target, entry: str) -> bool:
    match = _ENTRY.fullmatch(entry.lower())
    if match is None:
        return False
    pattern, port = match["host"], match["port"]
    literal = where.address is not None
    if pattern == "*":
        named = True
    elif pattern.startswith("*."):
        named = not literal and where.host.endswith("." + pattern[2:].removesuffix("."))
    elif pattern.startswith("["):
        try:
            named = where.host == _ipv6(pattern[1:-1])
        except TargetError:
            return False
    else:
        named = where.host == pattern.removesuffix(".")
    if port is None:
        return named and (where.port in (80, 443) or (literal and pattern != "*"))
    return named and (port == "*" or where.port == int(port))


def forbidden_address(address: IPv4Address | IPv6Address, allow_private_cidrs: Collection[str] = ()) -> str | None:
    """Why the address may not be connected to, or None where it may.

    ``allow_private_cidrs`` opens named ranges, never metadata addresses. IPv4 inside IPv6 is judged as IPv4.
    """
    if isinstance(address, IPv6Address):
        # Without its zone, which would make it unequal to the same address in a list.
        address = address.ipv4_mapped or IPv6Address(int(address))
    if address in _METADATA:
        return "it is a cloud metadata address"
    for block in allow_private_cidrs:
        network = _network(block)
        if network.version == address.version and address in network:
            return None
    if isinstance(address, IPv4Address):
        forbidden = next((network for network in _FORBIDDEN_V4 if address in network), None)
    elif address not in _GLOBAL_V6:
        return "it is not a publicly routable address"
    else:
        forbidden = next((network for network in _FORBIDDEN_V6 if address in network), None)
    return None if forbidden is None else f"it is in {forbidden}, which is not publicly routable"
