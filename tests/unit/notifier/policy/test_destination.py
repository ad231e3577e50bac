from __future__ import annotations

import itertools
import string
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.destination import (
    MAX_URL_LENGTH,
    Target,
    TargetError,
    check_allow_entry,
    forbidden_address,
    host_allowed,
    target,
)
from tests.unit.cases import case

NO_HOST = "it has no host"
BAD_NAME = "its host is not a valid name"
NOT_ASCII = "its host is not ASCII; write an international name in its xn-- form"
NUMBER = "its host is a number but not an IPv4 address in four decimal parts"
USER = "it has a user name or password; send credentials in a header"
FRAGMENT = "it has a fragment (#), which is never sent"
CHARACTER = 'it has a blank, a control character or one of \\ < > " ^ ` { | }; percent-encode it'
PERCENT = "it has a % that is not followed by two hexadecimal digits"
PERCENT_HOST = "its host is percent-encoded"
PORT = "its port is not a number between 1 and 65535"
NOT_ABSOLUTE = "it is not an absolute URL like https://host/path"
BAD_IPV6 = "its IPv6 address is not valid"
OPEN_BRACKET = "its IPv6 address has no closing bracket"
AFTER_BRACKET = "its IPv6 address is followed by something that is not a port"
ZONE = "its IPv6 address has a zone, which means something on one machine only"


def _refusal(url: str) -> str:
    with pytest.raises(TargetError) as refused:
        target(url)
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        # scheme, host, port
        ("https://example.com/in", "https://example.com/in"),
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.COM/In", "https://example.com/In"),
        ("hTTp://eXample.Com:8080", "http://example.com:8080/"),
        ("https://example.com./in", "https://example.com/in"),
        ("https://EXAMPLE.COM.:8443/in", "https://example.com:8443/in"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:?a", "http://example.com/?a"),
        ("http://example.com:1/", "http://example.com:1/"),
        ("http://example.com:65535/", "http://example.com:65535/"),
        ("http://example.com:00080/", "http://example.com/"),
        ("http://example.com:08080/", "http://example.com:8080/"),
        ("http://localhost/", "http://localhost/"),
        ("http://a/", "http://a/"),
        ("http://a-b.c_d.example/", "http://a-b.c_d.example/"),
        ("http://_dmarc.example/", "http://_dmarc.example/"),
        ("http://xn--mnchen-3ya.example/", "http://xn--mnchen-3ya.example/"),
        ("http://1a.example/", "http://1a.example/"),
        ("http://1.2.3.4.example/", "http://1.2.3.4.example/"),
        ("http://0x7f.example/", "http://0x7f.example/"),
        ("http://0x7g/", "http://0x7g/"),
        (f"http://{'a' * 63}.example/", f"http://{'a' * 63}.example/"),
        (f"http://{'a.' * 126}b/", f"http://{'a.' * 126}b/"),
        # path and query
        ("http://h?", "http://h/?"),
        ("http://h?a=1", "http://h/?a=1"),
        ("http://h/?a=1&b=2;c=/?:@", "http://h/?a=1&b=2;c=/?:@"),
        ("http://h/a?b?c", "http://h/a?b?c"),
        ("http://h//a//b/", "http://h//a//b/"),
        ("http://h/a/../b/./c/..", "http://h/a/../b/./c/.."),
        ("http://h/%2e%2E/%2F%2f", "http://h/%2e%2E/%2F%2f"),
        ("http://h/%00%0d%0a", "http://h/%00%0d%0a"),
        ("http://h/ü", "http://h/%C3%BC"),
        ("http://h/a?b=ü", "http://h/a?b=%C3%BC"),
        ("http://h/\u00a0\u2028", "http://h/%C2%A0%E2%80%A8"),
        ("http://h/😀", "http://h/%F0%9F%98%80"),
        ("http://h/\x80", "http://h/%C2%80"),
        ("http://h/a@b:c", "http://h/a@b:c"),
        ("http://h/?u=http://other/", "http://h/?u=http://other/"),
        ("http://h/[1]", "http://h/[1]"),
        # addresses
        ("http://1.2.3.4/", "http://1.2.3.4/"),
        ("http://1.2.3.4./", "http://1.2.3.4/"),
        ("http://1.2.3.4:8080/", "http://1.2.3.4:8080/"),
        ("http://0.0.0.0/", "http://0.0.0.0/"),
        ("http://255.255.255.255/", "http://255.255.255.255/"),
        ("http://[::]/", "http://[::]/"),
        ("http://[::1]/", "http://[::1]/"),
        ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]/"),
        ("http://[::1]:/", "http://[::1]/"),
        ("http://[2606:4700:0000:0000:0000:0000:0000:1111]:8443/x", "http://[2606:4700::1111]:8443/x"),
        ("http://[2606:4700::ABCD]/", "http://[2606:4700::abcd]/"),
        ("http://[64:ff9b::1.2.3.4]/", "http://[64:ff9b::102:304]/"),
        ("http://[FE80::1]/", "http://[fe80::1]/"),
    ],
)
def test_a_good_url_has_one_canonical_form(url: str, canonical: str) -> None:
    parsed = target(url)

    assert parsed.url == canonical
    assert target(canonical) == parsed


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://example.com/", ("http", "example.com", 80, None)),
        ("https://example.com/", ("https", "example.com", 443, None)),
        ("https://example.com:8443/", ("https", "example.com", 8443, None)),
        ("http://1.2.3.4:81/", ("http", "1.2.3.4", 81, IPv4Address("1.2.3.4"))),
        ("http://[2606:4700::1111]:81/", ("http", "2606:4700::1111", 81, IPv6Address("2606:4700::1111"))),
    ],
)
def test_the_parts_that_rules_look_at(url: str, parts: tuple[object, ...]) -> None:
    parsed = target(url)

    assert (parsed.scheme, parsed.host, parsed.port, parsed.address) == parts


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        # not a URL at all
        ("", NOT_ABSOLUTE),
        ("x", NOT_ABSOLUTE),
        ("example.com", NOT_ABSOLUTE),
        ("example.com/in", NOT_ABSOLUTE),
        ("/in", NOT_ABSOLUTE),
        ("//example.com/in", NOT_ABSOLUTE),
        ("://example.com/", NOT_ABSOLUTE),
        ("http:", NOT_ABSOLUTE),
        ("http:/", NOT_ABSOLUTE),
        ("http:/example.com", NOT_ABSOLUTE),
        ("http:example.com", NOT_ABSOLUTE),
        ("http//example.com", NOT_ABSOLUTE),
        ("1http://example.com", NOT_ABSOLUTE),
        ("ht_tp://example.com", NOT_ABSOLUTE),
        ("ｈttp://example.com", NOT_ABSOLUTE),
        ("http：//example.com", NOT_ABSOLUTE),
        ("javascript:alert(1)", NOT_ABSOLUTE),
        ("mailto:a@b", NOT_ABSOLUTE),
        ("data:,x", NOT_ABSOLUTE),
        ("null", NOT_ABSOLUTE),
        # another scheme
        ("ftp://example.com/", "its scheme is 'ftp'; only http and https are sent"),
        ("file:///etc/passwd", "its scheme is 'file'; only http and https are sent"),
        ("FILE://localhost/etc/passwd", "its scheme is 'file'; only http and https are sent"),
        ("gopher://example.com/_x", "its scheme is 'gopher'; only http and https are sent"),
        ("dict://example.com:11211/x", "its scheme is 'dict'; only http and https are sent"),
        ("ws://example.com/", "its scheme is 'ws'; only http and https are sent"),
        ("https+unix://example.com/", "its scheme is 'https+unix'; only http and https are sent"),
        ("httpx://example.com/", "its scheme is 'httpx'; only http and https are sent"),
        # no host
        ("http://", NO_HOST),
        ("http:///", NO_HOST),
        ("http:///in", NO_HOST),
        ("https://?a=1", NO_HOST),
        ("http://:80/", NO_HOST),
        ("http://:/", NO_HOST),
        ("http:////example.com/", NO_HOST),
        # user info
        ("http://a@b/", USER),
        ("http://a:b@example.com/", USER),
        ("http://@example.com/", USER),
        ("http://:@example.com/", USER),
        ("http://example.com@127.0.0.1/", USER),
        ("http://example.com:80@127.0.0.1/", USER),
        ("http://a@b@example.com/", USER),
        ("http://a%40b@example.com/", USER),
        ("http://[::1]@example.com/", USER),
        ("http://example.com:443@[::1]/", USER),
        # fragment
        ("http://example.com/#", FRAGMENT),
        ("http://example.com#a", FRAGMENT),
        ("http://example.com#@127.0.0.1/", FRAGMENT),
        ("http://example.com/a?b#c", FRAGMENT),
        ("#", FRAGMENT),
        # characters that parsers disagree about
        (" http://example.com/", CHARACTER),
        ("http://example.com/ ", CHARACTER),
        ("http://example.com /", CHARACTER),
        ("http://exam ple.com/", CHARACTER),
        ("http://example.com/a b", CHARACTER),
        ("http://example.com/a?b c", CHARACTER),
        ("http://example.com/\n", CHARACTER),
        ("http://example.com/\r\nHost: other", CHARACTER),
        ("ht\ttp://example.com/", CHARACTER),
        ("http://example.com\t/", CHARACTER),
        ("http://example.com/\x00", CHARACTER),
        ("http://example.com\x00.other/", CHARACTER),
        ("http://example.com/\x7f", CHARACTER),
        ("http:\\\\example.com\\", CHARACTER),
        ("http://example.com\\@127.0.0.1/", CHARACTER),
        ("http://example.com\\.other/", CHARACTER),
        ("http://example.com/a\\b", CHARACTER),
        ("http://127.0.0.1\\.example.com/", CHARACTER),
        ("http://<example.com>/", CHARACTER),
        ('http://example.com/"', CHARACTER),
        ("http://example.com/{id}", CHARACTER),
        ("http://example.com/a|b", CHARACTER),
        ("http://example.com/^", CHARACTER),
        ("http://example.com/`", CHARACTER),
        # percent
        ("http://example.com/%", PERCENT),
        ("http://example.com/%2", PERCENT),
        ("http://example.com/%zz", PERCENT),
        ("http://example.com/%2g", PERCENT),
        ("http://example.com/?a=100%", PERCENT),
        ("http://example.com/%%20", PERCENT),
        ("http://example.com/%u0041", PERCENT),
        ("http://example.com/%２0", PERCENT),
        ("http://exa%6dple.com/", PERCENT_HOST),
        ("http://%31%32%37.0.0.1/", PERCENT_HOST),
        ("http://example.com%2f.other/", PERCENT_HOST),
        ("http://example.com%00.other/", PERCENT_HOST),
        ("http://example.com%", PERCENT_HOST),
        ("http://127.0.0.1%2f@example.com/", USER),
        # names
        ("http://exämple.com/", NOT_ASCII),
        ("http://münchen.example/", NOT_ASCII),
        ("http://例え.example/", NOT_ASCII),
        ("http://ｅｘａｍｐｌｅ.com/", NOT_ASCII),
        ("http://example。com/", NOT_ASCII),
        ("http://example．com/", NOT_ASCII),
        ("http://example｡com/", NOT_ASCII),
        ("http://ⓔⓧⓐⓜⓟⓛⓔ.com/", NOT_ASCII),
        ("http://examp\u200dle.com/", NOT_ASCII),
        ("http://examp\u00adle.com/", NOT_ASCII),
        ("http://examp\u202ele.com/", NOT_ASCII),
        ("http://еxample.com/", NOT_ASCII),
        ("http://ſtripe.com/", NOT_ASCII),
        ("http://\u212a.com/", NOT_ASCII),
        ("http://😀/", NOT_ASCII),
        ("http://１２７.0.0.1/", NOT_ASCII),
        ("http://①②⑦.⓪.⓪.①/", NOT_ASCII),
        ("http://١٢٧.0.0.1/", NOT_ASCII),
        ("http://127。0。0。1/", NOT_ASCII),
        ("http://\ud800.com/", NOT_ASCII),
        ("http://./", BAD_NAME),
        ("http://../", BAD_NAME),
        ("http://.example.com/", BAD_NAME),
        ("http://example..com/", BAD_NAME),
        ("http://example.com../", BAD_NAME),
        ("http://-example.com/", BAD_NAME),
        ("http://example-.com/", BAD_NAME),
        ("http://-/", BAD_NAME),
        ("http://example.com,other/", BAD_NAME),
        ("http://example.com;other/", BAD_NAME),
        ("http://example.com&other/", BAD_NAME),
        ("http://exam!ple.com/", BAD_NAME),
        ("http://exam$ple.com/", BAD_NAME),
        ("http://exam'ple.com/", BAD_NAME),
        ("http://(example.com)/", BAD_NAME),
        ("http://*.example.com/", BAD_NAME),
        ("http://exam+ple.com/", BAD_NAME),
        ("http://exam=ple.com/", BAD_NAME),
        ("http://exam~ple.com/", BAD_NAME),
        ("http://]/", BAD_NAME),
        ("http://a[::1]/", BAD_NAME),
        ("http://::1]/", NO_HOST),
        (f"http://{'a' * 64}.example/", BAD_NAME),
        (f"http://{'a.' * 126}bb/", BAD_NAME),
        # ports
        ("http://example.com:0/", PORT),
        ("http://example.com:00000/", PORT),
        ("http://example.com:65536/", PORT),
        ("http://example.com:99999/", PORT),
        ("http://example.com:000080/", PORT),
        ("http://example.com:123456789012345678901234567890/", PORT),
        ("http://example.com:-1/", PORT),
        ("http://example.com:+80/", PORT),
        ("http://example.com:80a/", PORT),
        ("http://example.com:a/", PORT),
        ("http://example.com:8_0/", PORT),
        ("http://example.com:８０/", PORT),
        ("http://example.com:²/", PORT),
        ("http://example.com:80:80/", PORT),
        ("http://example.com::80/", PORT),
        ("http://example.com:%38%30/", PORT),
        ("http://1.2.3.4:0/", PORT),
        ("http://::1/", NO_HOST),
        ("http://1::2/", NUMBER),
        ("http://fe80::1/", PORT),
        ("http://[::1]:0/", PORT),
        ("http://[::1]:65536/", PORT),
        ("http://[::1]:x/", PORT),
        # IPv6
        ("http://[::1", OPEN_BRACKET),
        ("http://[", OPEN_BRACKET),
        ("http://[/", OPEN_BRACKET),
        ("http://[::1/", OPEN_BRACKET),
        ("http://[]/", BAD_IPV6),
        ("http://[:]/", BAD_IPV6),
        ("http://[:::]/", BAD_IPV6),
        ("http://[::1::]/", BAD_IPV6),
        ("http://[1:2:3:4:5:6:7]/", BAD_IPV6),
        ("http://[1:2:3:4:5:6:7:8:9]/", BAD_IPV6),
        ("http://[12345::]/", BAD_IPV6),
        ("http://[g::]/", BAD_IPV6),
        ("http://[::1.2.3]/", BAD_IPV6),
        ("http://[::256.1.1.1]/", BAD_IPV6),
        ("http://[::127.0.0.01]/", BAD_IPV6),
        ("http://[1.2.3.4]/", BAD_IPV6),
        ("http://[example.com]/", BAD_IPV6),
        ("http://[v1.fe80::a]/", BAD_IPV6),
        ("http://[[::1]]/", AFTER_BRACKET),
        ("http://[：：1]/", BAD_IPV6),
        ("http://[::１]/", BAD_IPV6),
        ("http://[fe80::1%]/", BAD_IPV6),
        ("http://[%31::]/", BAD_IPV6),
        ("http://[::1]a/", AFTER_BRACKET),
        ("http://[::1].example.com/", AFTER_BRACKET),
        ("http://[::1]]/", AFTER_BRACKET),
        ("http://[fe80::1%eth0]/", ZONE),
        ("http://[fe80::1%25eth0]/", ZONE),
        ("http://[fe80::1%1]/", ZONE),
        ("http://[::1%lo]:80/", ZONE),
        # other
        ("http://h/\ud800", "it has a character that is not valid Unicode"),
        ("http://h/?a=\udfff", "it has a character that is not valid Unicode"),
    ],
)
def test_a_bad_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    assert _refusal(url) == reason


_ADDRESSES = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.1.1",
    "172.16.0.1",
    "8.8.8.8",
    "255.255.255.255",
]


def _spellings(address: str) -> list[str]:
    """What inet_aton(3) reads as the address, other than its one canonical spelling."""
    whole = int(IPv4Address(address))
    a, b, c, d = parts = [int(part) for part in address.split(".")]
    octal, hexadecimal = [f"0{part:o}" for part in parts], [f"0x{part:x}" for part in parts]
    spellings = [
        str(whole), f"0{whole:o}", f"0x{whole:x}", f"0X{whole:X}", f"0x0{whole:08x}", f"{whole:012d}",
        ".".join(octal), ".".join(hexadecimal), ".".join(hexadecimal).upper(), ".".join(f"{part:03d}" for part in parts),
        f"{a}.{b}.{c * 256 + d}", f"{a}.{(b * 256 + c) * 256 + d}",
        f"{hexadecimal[0]}.{b}.{c}.{d}", f"{a}.{b}.{c}.{hexadecimal[3]}", f"{octal[0]}.{b}.{c}.{d}", f"{a}.{b}.{c}.{octal[3]}",
        f"{hexadecimal[0]}.{octal[1]}.{c * 256 + d}", f"0x.{b}.{c}.0x", f"{a}.{b}.{c}.0{d}",
    ]  # fmt: skip
    return [spelling for spelling in spellings if spelling != address]


@pytest.mark.parametrize("end", ["", ".", ":80", ".:443"])
@pytest.mark.parametrize("spelling", [spelling for address in _ADDRESSES for spelling in _spellings(address)])
def test_an_ipv4_address_has_one_spelling(spelling: str, end: str) -> None:
    assert _refusal(f"http://{spelling}{end}/") == NUMBER


@pytest.mark.parametrize(
    "host", ["1", "0", "256.1.1.1", "1.2.3.256", "1.2.3", "1.2.3.4.5", "999", "4294967296", "0x", "0x100000000", "a.1",
             "example.com.1", "example.0x1f", "1.2.3.-4".replace("-", "0"), "00.0.0.0", "1.2.3.4.0x5", "example.0x"]
)  # fmt: skip
def test_a_host_that_ends_in_a_number_is_an_address_or_refused(host: str) -> None:
    assert _refusal(f"http://{host}/") == NUMBER


_KEPT = set(string.ascii_letters + string.digits + "/:?@!$&'()*+,;=-._~[]")
_REFUSED = {chr(code) for code in range(0x21)} | set('\x7f\\<>"^`{|}')


@pytest.mark.parametrize(
    "character", [chr(code) for code in range(0x80)], ids=lambda character: f"{ord(character):02x}"
)
@pytest.mark.parametrize("place", ["http://h/a{}b", "http://h/?a{}b"], ids=["path", "query"])
def test_every_ascii_character_is_kept_or_refused(character: str, place: str) -> None:
    url = place.format(character)

    if character in _KEPT:
        assert target(url).url == url
    elif character == "%":
        assert _refusal(url) == PERCENT
    elif character == "#":
        assert _refusal(url) == FRAGMENT
    else:
        assert character in _REFUSED
        assert _refusal(url) == CHARACTER


@pytest.mark.parametrize(
    "character", [chr(code) for code in range(0x80)], ids=lambda character: f"{ord(character):02x}"
)
def test_no_ascii_character_in_a_host_is_read_as_something_else(character: str) -> None:
    try:
        host = target(f"http://a{character}b.example/").host
    except TargetError:
        assert character not in string.ascii_letters + string.digits + "-_./?"
        return

    assert host == ("a" if character in "/?" else f"a{character.lower()}b.example")


@pytest.mark.parametrize(
    ("length", "fits"), [case(MAX_URL_LENGTH, True, id="2048-characters"), case(MAX_URL_LENGTH + 1, False, id="2049")]
)
def test_the_greatest_length(length: int, fits: bool) -> None:
    url = "http://h/".ljust(length, "a")

    if fits:
        assert target(url).url == url
    else:
        assert _refusal(url) == "it is longer than 2048 characters"


def test_the_greatest_length_counts_once_percent_encoded() -> None:
    fits = "http://h/" + "ü" * 339 + "aaaaa"
    assert len(target(fits).url) == MAX_URL_LENGTH

    assert _refusal(fits + "a") == "it is longer than 2048 characters once percent-encoded"


_PIECES = st.sampled_from(
    ["http", "https", "HTTP", "ftp", ":", "//", "/", "\\", "@", "[", "]", "::1", "::ffff:1.2.3.4", "%25", "%", "#", "?", ".",
     "..", "example", "com", "127.0.0.1", "0x7f", "017", "1", "80", "443", "65536", "０", "ü", "。", "-", "_", "xn--", " ",
     "\t", "\n", "\x00", "\ud800", "&", "=", "a" * 64]
)  # fmt: skip
_URLS = st.one_of(
    st.text(max_size=40),
    st.lists(_PIECES, max_size=12).map("".join),
    st.lists(_PIECES, max_size=10).map(lambda pieces: "http://" + "".join(pieces)),
    st.text(max_size=30).map(lambda tail: "https://example.com/" + tail),
)


@given(_URLS)
def test_whatever_the_url_it_is_refused_or_its_canonical_form_is_its_own(url: str) -> None:
    try:
        parsed = target(url)
    except TargetError:
        return

    assert target(parsed.url) == parsed
    assert parsed.url.isascii()
    assert parsed.url.startswith(("http://", "https://"))
    assert not set(parsed.url) & {chr(code) for code in range(0x21)}
    assert 1 <= parsed.port <= 65535


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
