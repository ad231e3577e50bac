"""forbidden_address: what nobody may reach."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.addresses import forbidden_address, forms

# First and last of each block, and what of its neighbours is free: written out, not computed from the code.
V4_BLOCKS: list[tuple[str, str, str, str | None, str | None]] = [
    ("0.0.0.0/8", "0.0.0.0", "0.255.255.255", None, "1.0.0.0"),
    ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0/10", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0/16", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.0.0.0/24", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    ("192.31.196.0/24", "192.31.196.0", "192.31.196.255", "192.31.195.255", "192.31.197.0"),
    ("192.52.193.0/24", "192.52.193.0", "192.52.193.255", "192.52.192.255", "192.52.194.0"),
    ("192.88.99.0/24", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
    ("192.168.0.0/16", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("192.175.48.0/24", "192.175.48.0", "192.175.48.255", "192.175.47.255", "192.175.49.0"),
    ("198.18.0.0/15", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    ("203.0.113.0/24", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    ("224.0.0.0/4", "224.0.0.0", "239.255.255.255", "223.255.255.255", None),
    ("240.0.0.0/4", "240.0.0.0", "255.255.255.255", None, None),
]
V6_BLOCKS: list[tuple[str, str, str, str | None, str | None]] = [
    ("2001::/23", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
    ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:db9::"),
    ("2002::/16", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
    ("2620:4f:8000::/48", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
     "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"),
    ("3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "first", "last", "before", "after"), V4_BLOCKS + V6_BLOCKS, ids=lambda value: str(value)[:20]
)
def test_a_forbidden_block_from_its_first_to_its_last_address(
    block: str, first: str, last: str, before: str | None, after: str | None
) -> None:
    reason = f"it is in {block}, which is not publicly routable"

    assert forbidden_address(ip_address(first)) == reason
    assert forbidden_address(ip_address(last)) == reason
    assert [forbidden_address(ip_address(free)) for free in (before, after) if free is not None] == [
        None for free in (before, after) if free is not None
    ]


@pytest.mark.parametrize("block", V4_BLOCKS, ids=lambda block: str(block[0]))
def test_ipv4_inside_ipv6_is_judged_as_ipv4(block: tuple[str, str, str, str | None, str | None]) -> None:
    name, first, last, before, after = block

    for address in (first, last):
        mapped = IPv6Address(f"::ffff:{address}")
        assert forbidden_address(mapped) == f"it is in {name}, which is not publicly routable"
    for free in (before, after):
        assert free is None or forbidden_address(IPv6Address(f"::ffff:{free}")) is None


@pytest.mark.parametrize(
    "address",
    [
        "::", "::1", "::2", "::7f00:1", "::ffff:0:0:1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
        "100:0:0:1::1", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5f00::1", "fc00::1", "fdff::1", "fe80::1",
        "febf::1", "fec0::1", "ff00::", "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1%eth0",
    ],
)  # fmt: skip
def test_ipv6_outside_global_unicast_is_forbidden(address: str) -> None:
    assert forbidden_address(IPv6Address(address)) == "it is not a publicly routable address"


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.0.0.1", "172.217.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.254",
        "2000::", "2606:4700::1111", "2a00:1450::1", "2620:4f:8001::1", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
)  # fmt: skip
def test_public_addresses_are_free(address: str) -> None:
    assert forbidden_address(ip_address(address)) is None


METADATA = [
    "169.254.170.23", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "169.254.42.42", "fd00:42::42",
    "169.254.0.23", "fe80::a9fe:a9fe", "fe80::a9fe:a9fe%eth0",
    # in every form that carries it
    "::169.254.169.254", "::ffff:0:169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1:ffff:a9:fea9:fe00:0",
    "2002:a9fe:a9fe::", "2002:a9fe:a9fe:1::1", "2001:0:a9fe:a9fe::", "2001::5601:5601", "2001:0:808:808:8000:1:5601:5601",
    "fe80::5efe:169.254.169.254", "fe80::200:5efe:169.254.169.254", "2a00::5efe:a9fe:a9fe", "::168.63.129.16",
    "64:ff9b::100.100.100.200", "2002:6464:64c8::", "64:ff9b::c000:c0",
    "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "::ffff:169.254.169.254",
    "::ffff:168.63.129.16", "fd00:ec2::254%eth0", "::ffff:169.254.169.254%eth0",
]  # fmt: skip
EVERYTHING = ["0.0.0.0/0", "::/0", "169.254.0.0/16", "fd00::/8", "168.63.129.16/32", "fd00:ec2::254/128"]


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("allowed", [[], EVERYTHING], ids=["by-default", "whatever-is-allowed"])
def test_metadata_addresses_are_never_free(address: str, allowed: list[str]) -> None:
    assert forbidden_address(ip_address(address), allowed) == "it is a cloud metadata address"


@pytest.mark.parametrize("address", ["168.63.129.15", "168.63.129.17"])
def test_the_neighbours_of_azures_wire_server_are_free(address: str) -> None:
    assert forbidden_address(ip_address(address)) is None


@pytest.mark.parametrize(
    ("address", "allowed", "free"),
    [
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.1.0.0", ["10.1.0.0/16"], True),
        ("10.1.255.255", ["10.1.0.0/16"], True),
        ("10.0.255.255", ["10.1.0.0/16"], False),
        ("10.2.0.0", ["10.1.0.0/16"], False),
        ("127.0.0.1", ["127.0.0.1/32"], True),
        ("127.0.0.1", ["127.0.0.1"], True),
        ("127.0.0.2", ["127.0.0.1"], False),
        ("192.168.0.1", ["10.0.0.0/8", "192.168.0.0/16"], True),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("::ffff:10.1.2.3", ["::ffff:0:0/96"], False),
        ("10.1.2.3", ["::/0"], False),
        ("::1", ["0.0.0.0/0"], False),
        ("::1", ["::1/128"], True),
        ("fd12::1", ["fd12::/16"], True),
        ("fd13::1", ["fd12::/16"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("169.254.1.1", ["169.254.0.0/16"], True),
        ("8.8.8.8", ["10.0.0.0/8"], True),
        ("10.1.2.3", [], False),
    ],
)
def test_a_partner_may_open_ranges_of_its_own(address: str, allowed: list[str], free: bool) -> None:
    assert (forbidden_address(ip_address(address), allowed) is None) is free


@pytest.mark.parametrize(
    ("address", "allowed", "reason"),
    [
        ("64:ff9b::8.8.8.8", [], "it is not a publicly routable address"),
        ("64:ff9b::8.8.8.8", ["64:ff9b::/96"], None),
        ("64:ff9b::10.0.0.1", ["64:ff9b::/96"], "it carries 10.0.0.1, and it is in 10.0.0.0/8, which is not publicly routable"),
        ("64:ff9b::10.0.0.1", ["64:ff9b::/96", "10.0.0.0/8"], None),
        ("64:ff9b::127.0.0.1", ["::/0"], "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("::127.0.0.1", ["::/0"], "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("::ffff:0:127.0.0.1", ["::/0"], "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("2002:7f00:1::", ["::/0"], "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("2001::80ff:fffe", ["::/0"], "it carries 0.0.0.0, and it is in 0.0.0.0/8, which is not publicly routable"),
        ("2001:0:808:808::80ff:fffe", ["::/0"],
         "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("2a00::5efe:7f00:1", [], "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("2a00::200:5efe:7f00:1", [], "it carries 127.0.0.1, and it is in 127.0.0.0/8, which is not publicly routable"),
        ("2a00::5efe:808:808", [], None),
        ("64:ff9b:1::8.8.8.8", ["64:ff9b:1::/48"], None),
        ("::1", ["::1/128"], None),
        ("::", ["::/128"], None),
    ],
)  # fmt: skip
def test_ipv4_that_ipv6_carries_must_be_permitted_too(address: str, allowed: list[str], reason: str | None) -> None:
    assert forbidden_address(ip_address(address), allowed) == reason


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "64:ff9b:1::8.8.8.8"]
)
@pytest.mark.parametrize("allowed", [[], EVERYTHING, ["8.8.8.8/32"]], ids=["by-default", "everything", "this-one"])
def test_what_the_installation_denies_nobody_opens(address: str, allowed: list[str]) -> None:
    reason = forbidden_address(ip_address(address), allowed, ["8.8.8.0/24"])

    assert reason is not None
    if allowed:
        assert reason.endswith("it is in 8.8.8.0/24, which this installation denies")
    assert forbidden_address(ip_address("8.8.9.8"), [], ["8.8.8.0/24"]) is None


def _nat64(prefix_bits: int, inner: IPv4Address) -> IPv6Address:
    """RFC 6052, section 2.2, byte by byte: the eight bits 64 to 71 stay zero."""
    octets = bytearray(IPv6Address("64:ff9b:1::").packed)
    at = prefix_bits // 8
    for octet in inner.packed:
        at += at == 8
        octets[at] = octet
        at += 1
    return IPv6Address(bytes(octets))


@given(st.ip_addresses(v=4), st.sampled_from([48, 56, 64, 96]))
def test_whatever_the_prefix_of_nat64_the_carried_address_is_seen(inner: IPv4Address, prefix_bits: int) -> None:
    assert inner in forms(_nat64(prefix_bits, inner))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_the_forms_of_teredo_6to4_and_the_others(inner: IPv4Address, server: IPv4Address) -> None:
    turned = int(inner) ^ 0xFFFFFFFF
    for form in (
        IPv6Address(f"::ffff:{inner}"),
        IPv6Address(f"::ffff:0:{inner}"),
        IPv6Address(f"64:ff9b::{inner}"),
        IPv6Address(0x2002 << 112 | int(inner) << 80 | 7),
        IPv6Address(0x20010000 << 96 | int(server) << 64 | turned),
        IPv6Address(f"fe80::5efe:{inner}"),
    ):
        assert inner in forms(form)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_carries_a_forbidden_one_is_never_free(address: IPv6Address) -> None:
    if forbidden_address(address) is None:
        assert not any(forbidden_address(form) for form in forms(address))


@given(st.ip_addresses())
def test_no_free_address_is_private_by_the_standard_librarys_own_list(address: IPv4Address | IPv6Address) -> None:
    if forbidden_address(address) is None:
        inner = (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
        assert inner.is_global
        assert not inner.is_multicast
        assert not inner.is_reserved


def test_the_blocks_are_all_there_are() -> None:
    """Between the blocks, a sample of every /16 of IPv4 is free."""
    networks = [(IPv4Address(first), IPv4Address(last)) for _, first, last, _, _ in V4_BLOCKS]

    for high, low in itertools.product(range(256), range(256)):
        address = IPv4Address(f"{high}.{low}.77.77")
        inside = any(first <= address <= last for first, last in networks)
        assert (forbidden_address(address) is not None) is inside, address
