"""target: one canonical URL, or a reason."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.destination import (
    MAX_URL_LENGTH,
    TargetError,
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
