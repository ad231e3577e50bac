"""check_allow_entry and host_allowed: where a partner may be reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.destination import (
    Target,
    check_allow_entry,
    host_allowed,
    target,
)

NO_HOST = "it has no host"
BAD_NAME = "its host is not a valid name"
NOT_ASCII = "its host is not ASCII; write an international name in its xn-- form"
NUMBER = "its host is a number but not an IPv4 address in four decimal parts"
PERCENT_HOST = "its host is percent-encoded"
BAD_IPV6 = "its IPv6 address is not valid"


def _at(host: str, port: int = 443) -> Target:
    return target(f"https://{f'[{host}]' if ':' in host else host}:{port}/")


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        # a name
        ("example.com", "example.com", 443, True),
        ("example.com", "example.com", 80, True),
        ("example.com", "example.com", 8443, False),
        ("example.com", "EXAMPLE.com.", 443, True),
        ("EXAMPLE.COM.", "example.com", 443, True),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "example.com.other", 443, False),
        ("example.com", "notexample.com", 443, False),
        ("example.com", "example.co", 443, False),
        ("example.com", "exampleXcom", 443, False),
        # with a port
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("example.com:443", "example.com", 80, False),
        ("example.com:08443", "example.com", 8443, True),
        ("example.com:*", "example.com", 1, True),
        ("example.com:*", "example.com", 65535, True),
        ("example.com:*", "www.example.com", 443, False),
        # a suffix
        ("*.example.com", "www.example.com", 443, True),
        ("*.example.com", "a.b.c.example.com", 80, True),
        ("*.EXAMPLE.com.", "www.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "notexample.com", 443, False),
        ("*.example.com", "www.example.com.other", 443, False),
        ("*.example.com", "www.example.com", 8443, False),
        ("*.example.com:8443", "www.example.com", 8443, True),
        ("*.example.com:*", "www.example.com", 8443, True),
        ("*.com", "example.com", 443, True),
        # any
        ("*", "example.com", 443, True),
        ("*", "example.com", 80, True),
        ("*", "example.com", 8443, False),
        ("*", "1.2.3.4", 443, True),
        ("*", "1.2.3.4", 8443, False),
        ("*", "2606:4700::1111", 80, True),
        ("*:8443", "example.com", 8443, True),
        ("*:8443", "example.com", 443, False),
        ("*:*", "1.2.3.4", 9, True),
        # addresses: any port unless one is named
        ("1.2.3.4", "1.2.3.4", 443, True),
        ("1.2.3.4", "1.2.3.4", 8443, True),
        ("1.2.3.4", "1.2.3.5", 443, False),
        ("1.2.3.4:8443", "1.2.3.4", 8443, True),
        ("1.2.3.4:8443", "1.2.3.4", 443, False),
        ("*.2.3.4", "1.2.3.4", 443, False),
        ("*.3.4.example", "1.2.3.4.example", 443, True),
        ("[2606:4700::1111]", "2606:4700::1111", 8443, True),
        ("[2606:4700:0:0::1111]", "2606:4700::1111", 443, True),
        ("[2606:4700::ABCD]", "2606:4700::abcd", 443, True),
        ("[2606:4700::1111]:8443", "2606:4700::1111", 8443, True),
        ("[2606:4700::1111]:8443", "2606:4700::1111", 443, False),
        ("[2606:4700::1111]", "2606:4700::1112", 443, False),
        ("[2606:4700::1111]", "example.com", 443, False),
        # malformed ones allow nothing
        ("", "example.com", 443, False),
        ("example.com:", "example.com", 443, False),
        ("example.com:https", "example.com", 443, False),
        ("https://example.com", "example.com", 443, False),
        ("example.com/", "example.com", 443, False),
        ("exam*", "example.com", 443, False),
        ("*example.com", "www.example.com", 443, False),
        ("www.*.com", "www.example.com", 443, False),
        (".*", "example.com", 443, False),
        ("*.", "example.com", 443, False),
        ("*.:*", "example.com", 443, False),
        ("**", "example.com", 443, False),
        ("[a]", "a", 443, False),
        ("[1.2.3.4]", "1.2.3.4", 443, False),
        (".example.com", "www.example.com", 443, False),
        ("2606:4700::1111", "2606:4700::1111", 443, False),
        ("[:::]", "2606:4700::1111", 443, False),
        ("1.2.3.0/24", "1.2.3.4", 443, False),
    ],
)
def test_an_allow_list_entry(entry: str, host: str, port: int, allowed: bool) -> None:
    assert host_allowed(_at(host, port), [entry]) is allowed


def test_an_empty_allow_list_allows_nothing() -> None:
    assert not host_allowed(_at("example.com"), [])


def test_any_entry_of_the_allow_list_is_enough() -> None:
    entries = ["other.example", "*.example.com", "[:::]", "1.2.3.4"]

    assert host_allowed(_at("www.example.com"), entries)
    assert host_allowed(_at("1.2.3.4"), entries)
    assert not host_allowed(_at("example.com"), entries)


@pytest.mark.parametrize(
    "entry",
    [
        "example.com", "EXAMPLE.com", "example.com.", "localhost", "a_b.example", "xn--mnchen-3ya.example", "example.com:1",
        "example.com:65535", "example.com:*", "*.example.com", "*.example.com:8443", "*.example.com:*", "*.com", "*", "*:443",
        "*:*", "1.2.3.4", "1.2.3.4:80", "127.0.0.1:*", "[::1]", "[::1]:80", "[2606:4700::ABCD]:*",
    ],
)  # fmt: skip
def test_a_good_allow_list_entry(entry: str) -> None:
    check_allow_entry(entry)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", "'' is not a host, *.suffix or *, with an optional :port"),
        (":80", "':80' is not a host, *.suffix or *, with an optional :port"),
        ("example.com:", "'example.com:' is not a host, *.suffix or *, with an optional :port"),
        ("example.com:x", "'example.com:x' is not a host, *.suffix or *, with an optional :port"),
        ("example.com:123456", "'example.com:123456' is not a host, *.suffix or *, with an optional :port"),
        ("example.com:８０", "'example.com:８０' is not a host, *.suffix or *, with an optional :port"),
        ("example.com:80\n", "'example.com:80\\n' is not a host, *.suffix or *, with an optional :port"),
        ("https://example.com", "'https://example.com' is not a host, *.suffix or *, with an optional :port"),
        ("::1", "'::1' is not a host, *.suffix or *, with an optional :port"),
        ("[::1", "'[::1' is not a host, *.suffix or *, with an optional :port"),
        ("[fe80::1%eth0]", "'[fe80::1%eth0]' is not a host, *.suffix or *, with an optional :port"),
        ("[example]", "'[example]' is not a host, *.suffix or *, with an optional :port"),
        ("a:1:2", "'a:1:2' is not a host, *.suffix or *, with an optional :port"),
        ("example.com:0", "'example.com:0' has a port that is not between 1 and 65535"),
        ("example.com:65536", "'example.com:65536' has a port that is not between 1 and 65535"),
        ("[:::]", f"'[:::]' is not usable: {BAD_IPV6}"),
        ("[1.2.3.4]", f"'[1.2.3.4]' is not usable: {BAD_IPV6}"),
        ("example.com/in", f"'example.com/in' is not usable: {BAD_NAME}"),
        ("user@example.com", f"'user@example.com' is not usable: {BAD_NAME}"),
        ("exa mple.com", f"'exa mple.com' is not usable: {BAD_NAME}"),
        ("*example.com", f"'*example.com' is not usable: {BAD_NAME}"),
        ("www.*.com", f"'www.*.com' is not usable: {BAD_NAME}"),
        ("*.*.com", f"'*.*.com' is not usable: {BAD_NAME}"),
        ("**", f"'**' is not usable: {BAD_NAME}"),
        ("*.", f"'*.' is not usable: {NO_HOST}"),
        (".example.com", f"'.example.com' is not usable: {BAD_NAME}"),
        ("10.0.0.0/8", f"'10.0.0.0/8' is not usable: {BAD_NAME}"),
        ("127.1", f"'127.1' is not usable: {NUMBER}"),
        ("0x7f000001", f"'0x7f000001' is not usable: {NUMBER}"),
        ("*.1", f"'*.1' is not usable: {NUMBER}"),
        ("münchen.example", f"'münchen.example' is not usable: {NOT_ASCII}"),
        ("exa%6dple.com", f"'exa%6dple.com' is not usable: {PERCENT_HOST}"),
    ],
)
def test_a_bad_allow_list_entry_is_refused_with_the_reason(entry: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared whole
        check_allow_entry(entry)

    assert str(refused.value) == reason


_HOSTS = st.text("a.*:[]0-_/%é1", max_size=12)


@given(_HOSTS, st.sampled_from([_at("a"), _at("1.1.1.1"), _at("1::1")]))
def test_whatever_the_entry_it_is_good_or_allows_nothing_of_what_it_does_not_say(entry: str, where: Target) -> None:
    allowed = host_allowed(where, [entry])

    if allowed:
        check_allow_entry(entry)
