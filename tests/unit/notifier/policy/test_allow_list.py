"""Where a partner may be reached: by its allow-list, and by the installation's deny-list."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.policy.allow_list import allowed, check_deny_entry, denied, read
from notifier.policy.destination import Target, target

NO_HOST = "it has no host"
BAD_NAME = "its host is not a valid name"
NOT_ASCII = "its host is not ASCII; write an international name in its xn-- form"
NUMBER = "its host is a number but not an IPv4 address in four decimal parts"
PERCENT_HOST = "its host is percent-encoded"
BAD_IPV6 = "its IPv6 address is not valid"


def _at(host: str, port: int = 443) -> Target:
    return target(f"https://{f'[{host}]' if ':' in host else host}:{port}/")


@pytest.mark.parametrize(
    ("entry", "host", "port", "admitted"),
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
        # addresses
        ("1.2.3.4", "1.2.3.4", 443, True),
        ("1.2.3.4", "1.2.3.4", 80, True),
        ("1.2.3.4", "1.2.3.4", 22, False),
        ("1.2.3.4:*", "1.2.3.4", 22, True),
        ("1.2.3.4", "1.2.3.5", 443, False),
        ("1.2.3.4:8443", "1.2.3.4", 8443, True),
        ("1.2.3.4:8443", "1.2.3.4", 443, False),
        ("*.2.3.4", "1.2.3.4", 443, False),
        ("*.3.4.example", "1.2.3.4.example", 443, True),
        ("[2606:4700::1111]", "2606:4700::1111", 8443, False),
        ("[2606:4700::1111]:*", "2606:4700::1111", 8443, True),
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
        ("ftp://example.com", "example.com", 443, False),
        ("//example.com", "example.com", 443, False),
        ("example.com?", "example.com", 443, False),
        ("example.com/?a", "example.com", 443, False),
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
def test_an_allow_list_entry(entry: str, host: str, port: int, admitted: bool) -> None:
    assert allowed(_at(host, port), [entry]) is admitted


def test_an_empty_allow_list_allows_nothing() -> None:
    assert not allowed(_at("example.com"), [])


def test_any_entry_of_the_allow_list_is_enough() -> None:
    entries = ["other.example", "*.example.com", "[:::]", "1.2.3.4"]

    assert allowed(_at("www.example.com"), entries)
    assert allowed(_at("1.2.3.4"), entries)
    assert not allowed(_at("example.com"), entries)


@pytest.mark.parametrize(
    "entry",
    [
        "example.com", "EXAMPLE.com", "example.com.", "localhost", "a_b.example", "xn--mnchen-3ya.example", "example.com:1",
        "example.com:65535", "example.com:*", "*.example.com", "*.example.com:8443", "*.example.com:*", "*.com", "*", "*:443",
        "*:*", "1.2.3.4", "1.2.3.4:80", "127.0.0.1:*", "[::1]", "[::1]:80", "[2606:4700::ABCD]:*",
    ],
)  # fmt: skip
def test_a_good_allow_list_entry(entry: str) -> None:
    read(entry)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", "'' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path"),
        (":80", "':80' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path"),
        (
            "example.com:",
            "'example.com:' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        (
            "example.com:x",
            "'example.com:x' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        (
            "example.com:123456",
            "'example.com:123456' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        (
            "example.com:８０",
            "'example.com:８０' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        (
            "example.com:80\n",
            "'example.com:80\\n' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        (
            "ftp://example.com",
            "'ftp://example.com' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        ("::1", "'::1' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path"),
        ("[::1", "'[::1' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path"),
        (
            "[fe80::1%eth0]",
            "'[fe80::1%eth0]' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        (
            "[example]",
            "'[example]' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        ("a:1:2", "'a:1:2' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path"),
        ("example.com:0", "'example.com:0' has a port that is not between 1 and 65535"),
        ("example.com:65536", "'example.com:65536' has a port that is not between 1 and 65535"),
        ("[:::]", f"'[:::]' is not usable: {BAD_IPV6}"),
        ("[1.2.3.4]", f"'[1.2.3.4]' is not usable: {BAD_IPV6}"),
        (
            "user@example.com",
            "'user@example.com' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path",
        ),
        ("exa mple.com", f"'exa mple.com' is not usable: {BAD_NAME}"),
        ("*example.com", f"'*example.com' is not usable: {BAD_NAME}"),
        ("www.*.com", f"'www.*.com' is not usable: {BAD_NAME}"),
        ("*.*.com", f"'*.*.com' is not usable: {BAD_NAME}"),
        ("**", f"'**' is not usable: {BAD_NAME}"),
        ("*.", f"'*.' is not usable: {NO_HOST}"),
        (".example.com", f"'.example.com' is not usable: {BAD_NAME}"),
        ("127.1", f"'127.1' is not usable: {NUMBER}"),
        ("0x7f000001", f"'0x7f000001' is not usable: {NUMBER}"),
        ("*.1", f"'*.1' is not usable: {NUMBER}"),
        ("münchen.example", f"'münchen.example' is not usable: {NOT_ASCII}"),
        ("exa%6dple.com", f"'exa%6dple.com' is not usable: {PERCENT_HOST}"),
    ],
)
def test_a_bad_allow_list_entry_is_refused_with_the_reason(entry: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared whole
        read(entry)

    assert str(refused.value) == reason


_HOSTS = st.text("a.*:[]0-_/%é1", max_size=12)


@given(_HOSTS, st.sampled_from([_at("a"), _at("1.1.1.1"), _at("1::1")]))
def test_whatever_the_entry_it_is_good_or_allows_nothing_of_what_it_does_not_say(entry: str, where: Target) -> None:
    if allowed(where, [entry]):
        read(entry)


@pytest.mark.parametrize(
    ("entry", "url", "admitted"),
    [
        # a scheme means its own port
        ("https://example.com", "https://example.com/", True),
        ("https://example.com", "http://example.com/", False),
        ("https://example.com", "http://example.com:443/", False),
        ("https://example.com", "https://example.com:80/", False),
        ("HTTPS://example.com", "https://example.com/", True),
        ("http://example.com", "http://example.com/", True),
        ("http://example.com", "https://example.com/", False),
        ("http://example.com", "http://example.com:443/", False),
        ("https://example.com:8443", "https://example.com:8443/", True),
        ("https://example.com:8443", "http://example.com:8443/", False),
        ("https://example.com:*", "https://example.com:1/", True),
        ("https://*.example.com", "https://a.example.com/", True),
        ("https://*.example.com", "https://example.com/", False),
        ("https://*", "https://a.example/", True),
        ("https://*", "http://a.example/", False),
        ("https://[2606:4700::1111]:8443/in", "https://[2606:4700::1111]:8443/in", True),
        # a path, and what is below it
        ("example.com/", "https://example.com/any", True),
        ("example.com/in", "https://example.com/in", True),
        ("example.com/in", "https://example.com/in?a=/../b", True),
        ("example.com/in", "https://example.com/in/", True),
        ("example.com/in", "https://example.com/in/a/b", True),
        ("example.com/in", "https://example.com/inside", False),
        ("example.com/in", "https://example.com/In", False),
        ("example.com/in", "https://example.com/", False),
        ("example.com/in", "https://example.com/a/in", False),
        ("example.com/in", "https://example.com//in", False),
        ("example.com/in/", "https://example.com/in/a", True),
        ("example.com/in/", "https://example.com/in", False),
        ("example.com/in%2Fa", "https://example.com/in%2Fa/b", True),
        ("*/in", "https://anything.example/in/a", True),
        # ways out of the folder
        ("example.com/in", "https://example.com/in/../admin", False),
        ("example.com/in", "https://example.com/in/..", False),
        ("example.com/in", "https://example.com/in/.", False),
        ("example.com/in", "https://example.com/in/%2e%2e/admin", False),
        ("example.com/in", "https://example.com/in/%2E./admin", False),
        ("example.com/in", "https://example.com/in/.%2e/admin", False),
        ("example.com/in", "https://example.com/in/..%2fadmin", False),
        ("example.com/in", "https://example.com/in/..%5cadmin", False),
        ("example.com/in", "https://example.com/in/%252e%252e/admin", False),
        ("example.com/in", "https://example.com/in/%25252e%25252e/admin", False),
        ("example.com/in", "https://example.com/in/%2525252525", False),
        ("example.com/in", "https://example.com/in/..;/admin", False),
        ("example.com/in", "https://example.com/in/..;a=b/admin", False),
        ("example.com/in", "https://example.com/in/%c0%ae%c0%ae/admin", False),
        ("example.com/in", "https://example.com/in/...", True),
        ("example.com/in", "https://example.com/in/..a", True),
        ("example.com/in", "https://example.com/in/a..", True),
        ("example.com/in", "https://example.com/in/%C3%BC", True),
        ("example.com", "https://example.com/in/../admin", True),
    ],
)
def test_an_entry_with_a_scheme_or_a_path(entry: str, url: str, admitted: bool) -> None:
    read(entry)

    assert allowed(target(url), [entry]) is admitted


@pytest.mark.parametrize(
    "path", ["/a/../b", "/./a", "/a?b", "/a#b", "/a b", "/%", "/%2e%2e/", "/..;/", "/\\", "/%ff", "/ü"]
)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"has a path that is not plain|is not a host"):
        read(f"example.com{path}")

    assert not allowed(target("https://example.com/a/b"), [f"example.com{path}"])


@pytest.mark.parametrize(
    ("entry", "url", "is_denied"),
    [
        ("example.com", "https://example.com/", True),
        ("example.com", "https://EXAMPLE.com.:8443/", True),
        ("example.com", "http://example.com:22/", True),
        ("example.com", "https://www.example.com/", False),
        ("example.com:22", "http://example.com:22/", True),
        ("example.com:22", "http://example.com/", False),
        ("*.example.com", "https://www.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("http://*", "http://example.com:8080/", True),
        ("http://*", "https://example.com/", False),
        ("1.2.3.4", "https://1.2.3.4:8443/", True),
        ("*:25", "http://a.example:25/", True),
    ],
)
def test_a_deny_list_entry_without_a_port_means_every_port(entry: str, url: str, is_denied: bool) -> None:
    check_deny_entry(entry)

    assert denied(target(url), [entry]) is is_denied
    assert denied(target(url), ["other.example", entry]) is is_denied


def test_an_empty_deny_list_denies_nothing() -> None:
    assert not denied(_at("example.com"), [])


@pytest.mark.parametrize("entry", ["", "a b", "example.com/in", "ftp://example.com", "10.0.0.0/8"])
def test_a_bad_deny_list_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|has a path|is not usable"):
        check_deny_entry(entry)


_SEGMENTS = st.lists(
    st.sampled_from([".", "..", "%2e", "%2E%2e", "%252e", ";", "a", "in", "%2f", "%5c", "%c0%ae", "..;x", ""]),
    max_size=6,
)


@given(_SEGMENTS, st.sampled_from(["/", "%2f", "%2F", "%5C", "%252f"]))
def test_whatever_the_path_what_is_admitted_stays_below_the_prefix(segments: list[str], slash: str) -> None:
    """However often a server decodes the path, and whether it takes a backslash for a slash or not."""
    where = target("https://example.com/in/" + slash.join(segments))

    if allowed(where, ["example.com/in"]):
        path = where.path
        for _ in range(4):
            parts = path.replace("\\", "/").split("/")
            assert not {part.partition(";")[0] for part in parts} & {".", ".."}
            path = unquote(path)
