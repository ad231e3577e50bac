"""Where a request goes: one canonical URL.

Parsed once, strictly, at accept; what is checked (policy.allow_list, policy.addresses) is what is sent. ``target`` is pure:
names are looked up, and their addresses checked, when the request is sent (deliveries.transport).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import quote

MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\<>\"^`{|}]")
# Characters that may stand in a path or query as they are (RFC 3986, section 3.3 and 3.4), and those that servers take.
_SAFE = "%/:?@!$&'()*+,;=-._~[]"


class TargetError(ValueError):
    """The URL is malformed; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A canonical target URL and the parts that rules look at. ``host`` has no brackets, ``path`` no query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address, where the host is one."""
        if ":" not in self.host and not self.host[-1:].isdigit():
            return None  # for this is asked at each attempt, and an exception takes microseconds
        return _address(self.host)


# Producers post to the same few hosts and paths over and over: what they are is worked out once. It is pure.
_KEPT = 8192


@lru_cache(maxsize=_KEPT)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


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
    return Target(canonical, scheme, host, port, tail.partition("?")[0])


def _host_and_port(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise TargetError("it has a user name or password; send credentials in a header")
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket:
            raise TargetError("its IPv6 address has no closing bracket")
        if rest and not rest.startswith(":"):
            raise TargetError("its IPv6 address is followed by something that is not a port")
        return ipv6(literal), _port(rest[1:] if rest else "", scheme)
    host, _, port = authority.partition(":")
    return name(host), _port(port, scheme)


def ipv6(literal: str) -> str:
    """The canonical form of an IPv6 address without brackets, or ``TargetError``."""
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


def name(host: str) -> str:
    """The canonical form of a host that is no IPv6 address, or ``TargetError``."""
    if not host:
        raise TargetError("it has no host")
    if not host.isascii():
        raise TargetError("its host is not ASCII; write an international name in its xn-- form")
    if "%" in host:
        raise TargetError("its host is percent-encoded")
    lowered = host.lower().removesuffix(".")
    labels = lowered.split(".")
    if len(lowered) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetError("its host is not a valid name")
    # What a resolver would read as an IPv4 address must be written as one (WHATWG URL, "ends in a number").
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(IPv4Address(lowered))
        except ValueError:
            raise TargetError("its host is a number but not an IPv4 address in four decimal parts") from None
    return lowered
