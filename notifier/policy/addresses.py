"""Which addresses may be connected to: publicly routable ones, and ranges that a partner's configuration names.

The tables are our own: the standard library's ``is_global`` of Python 3.11 lets through multicast, NAT64 and 6to4 forms of
private addresses (https://github.com/python/cpython/issues/113171).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Why one of the service's own addresses and ports may not be connected to, which is for who knows them to find out.
OWN_LISTENER = "the notifier itself listens there"
# IANA's special-purpose registries (RFC 6890 and its updates), multicast, what is reserved, and Azure's wire server.
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
# The 96 bits before it: compatible (RFC 4291, 2.5.5.1), translated (RFC 2765, 2.1), NAT64 (RFC 6052, 2.1).
_IPV4_AT_THE_END = (0, 0xFFFF_0000, 0x64_FF9B << 64)
# RFC 6052, 2.2: with a prefix of 48, 56 or 64 bits, IPv4 goes around eight bits that are zero; so many of its bits before.
_BITS_BEFORE_THE_GAP = (16, 8, 0)
# Credentials of the machine itself: no configuration opens these.
_METADATA = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254", "fe80::a9fe:a9fe",  # most clouds; OpenStack's over IPv6
        "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23",  # AWS: machines, containers, pods
        "fd20:ce::254",  # Google over IPv6
        "168.63.129.16",  # Azure's wire server
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle, classic
        "169.254.42.42", "fd00:42::42",  # Scaleway
        "169.254.0.23",  # Tencent
    )
)  # fmt: skip


def forbidden_address(
    address: Address, allow_private_cidrs: Collection[str] = (), deny_cidrs: Collection[str] = ()
) -> str | None:
    """Why the address may not be connected to, or None where it may.

    ``deny_cidrs`` wins over everything. ``allow_private_cidrs`` opens named ranges, never metadata addresses. IPv4
    that an IPv6 address carries must be permitted, too. Raises ``ValueError`` where a range cannot be read.
    """
    return _forbidden(_plain(address), tuple(allow_private_cidrs), tuple(deny_cidrs))


@lru_cache(maxsize=16_384)
def _forbidden(address: Address, allowed: tuple[str, ...], denied: tuple[str, ...]) -> str | None:
    carried, maybe = _carried(address) if isinstance(address, IPv6Address) else ((), ())
    forms = (address, *carried, *maybe)
    if not _METADATA.isdisjoint(forms):
        return "it is a cloud metadata address"
    for form in forms:
        if block := _among(form, _networks(denied)):
            return f"it is in {block}, which this installation denies"
    if not _among(address, _networks(allowed)) and (reason := _special(address)):
        return reason
    for inner in carried:
        if reason := _forbidden(inner, allowed, denied):
            return f"it carries {inner}, and {reason}"
    return None


def forms(address: Address) -> tuple[Address, ...]:
    """The address, and every IPv4 address to which it might be taken."""
    plain = _plain(address)
    if isinstance(plain, IPv4Address):
        return (plain,)
    carried, maybe = _carried(plain)
    return (plain, *carried, *maybe)


def _special(address: Address) -> str | None:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "it is not a publicly routable address"
    block = _among(address, _FORBIDDEN_V4 if isinstance(address, IPv4Address) else _FORBIDDEN_V6)
    return None if block is None else f"it is in {block}, which is not publicly routable"


def _among(
    address: Address,
    networks: Collection[IPv4Network] | Collection[IPv6Network] | Collection[IPv4Network | IPv6Network],
) -> IPv4Network | IPv6Network | None:
    return next((network for network in networks if network.version == address.version and address in network), None)


@lru_cache(maxsize=8192)
def _networks(cidrs: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(cidr) for cidr in cidrs)


def _plain(address: Address) -> Address:
    """A mapped address as the IPv4 address that it is; without a zone, which would make it unequal to the same in a list."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _carried(address: IPv6Address) -> tuple[tuple[IPv4Address, ...], tuple[IPv4Address, ...]]:
    """IPv4 addresses to which a gateway, a tunnel or an old stack takes this one, and those to which one might.

    ``::`` and ``::1`` carry none.
    """
    bits = int(address)
    low, prefix = bits & 0xFFFF_FFFF, bits >> 96
    found: tuple[int, ...] = ()
    maybe: list[int] = []
    if bits >> 32 in _IPV4_AT_THE_END and bits > 1:
        found = (low,)
    elif bits >> 80 == 0x64_FF9B_0001:  # NAT64 of one's own (RFC 8215); how long its prefix is, only its owner knows
        maybe = [
            (bits >> 64 & (1 << before) - 1) << 32 - before | bits >> 24 + before & (1 << 32 - before) - 1
            for before in _BITS_BEFORE_THE_GAP
        ]
        maybe.append(low)
    elif prefix >> 16 == 0x2002:  # 6to4 (RFC 3056, 2)
        found = (bits >> 80 & 0xFFFF_FFFF,)
    elif prefix == 0x2001_0000:  # Teredo (RFC 4380, 4): its server, and its client with all bits turned
        found = (bits >> 64 & 0xFFFF_FFFF, low ^ 0xFFFF_FFFF)
    if bits >> 32 & 0xFDFF_FFFF == 0x5EFE:  # ISATAP (RFC 5214, 6.1)
        found = (*found, low)
    return tuple(map(IPv4Address, found)), tuple(map(IPv4Address, maybe))
