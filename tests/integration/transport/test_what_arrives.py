"""What the partner receives, byte for byte."""

from __future__ import annotations

import pytest

from tests.integration.transport.sending import Sender
from tests.support.raw_server import OK, RawServer, Received, answering

_case = pytest.param

HEAD_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
EVERY_BYTE = bytes(range(256))


def _headers(received: Received) -> list[bytes]:
    """The lines but for those that every request has: Host and Accept are libcurl's, like the encodings it can undo."""
    usual = (b"host:", b"accept:", b"accept-encoding:")
    return [line for line in received.headers if not line.lower().startswith(usual)]


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        _case("GET", None, [], id="get"),
        _case("GET", b"", [b"Content-Length: 0"], id="get-empty"),
        _case("GET", EVERY_BYTE, [b"Content-Length: 256"], id="get-body"),
        _case("POST", None, [b"Content-Length: 0"], id="post"),
        _case("POST", b"", [b"Content-Length: 0"], id="post-empty"),
        _case("POST", EVERY_BYTE, [b"Content-Length: 256"], id="post-body"),
        _case("PUT", None, [b"Content-Length: 0"], id="put"),
        _case("PUT", EVERY_BYTE, [b"Content-Length: 256"], id="put-body"),
        _case("PATCH", None, [b"Content-Length: 0"], id="patch"),
        _case("PATCH", EVERY_BYTE, [b"Content-Length: 256"], id="patch-body"),
        _case("DELETE", None, [], id="delete"),
        _case("DELETE", EVERY_BYTE, [b"Content-Length: 256"], id="delete-body"),
        _case("HEAD", None, [], id="head"),
        _case("HEAD", EVERY_BYTE, [b"Content-Length: 256"], id="head-body"),
    ],
)
def test_each_method_with_and_without_a_body(
    sender: Sender, method: str, body: bytes | None, framing: list[bytes]
) -> None:
    with RawServer(answering(HEAD_OK if method == "HEAD" else OK)) as partner:
        exchange = sender.send(partner.url("/in"), method, body)

    (received,) = partner.requests
    assert exchange.status == 200
    assert exchange.body == (b"" if method == "HEAD" else b"ok")
    assert exchange.body_truncated is False
    assert received.line == method.encode() + b" /in HTTP/1.1"
    assert received.header("host") == [f"127.0.0.1:{partner.port}".encode()]
    assert _headers(received) == framing
    assert received.body == (body or b"")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a/../b",
        "/a/./b//c/",
        "/%7e%7E%2f%2F%c3%a4",
        "/in?x=%7e&y=%7E",
        "/in?",
        "/?",
        "/?a=b=c&&=",
        "/in;v=1,2?list[]=1&who=me@here:1&star=*!$'()",
        "/?redirect=https://other.example/../x?y=/z",
        "/" + "a" * 2000,
    ],
)
def test_path_and_query_are_sent_as_they_are(sender: Sender, target: str) -> None:
    with RawServer(answering(OK)) as partner:
        sender.send(partner.url(target), "GET", None)

    assert [received.line for received in partner.requests] == [f"GET {target} HTTP/1.1".encode()]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        _case("X-Plain", "value", b"X-Plain: value", id="plain"),
        _case("x-cAsE", "v", b"x-cAsE: v", id="case"),
        _case("X-Empty", "", b"X-Empty:", id="empty"),
        _case("X-Blank", "  ", b"X-Blank:", id="blank-is-empty"),
        _case("X-Latin", "caf\xe9 \xff\x80", b"X-Latin: caf\xe9 \xff\x80", id="latin-1"),
        _case("X-Marks", "a;b: c, \"d\" 'e'\tf=%20", b"X-Marks: a;b: c, \"d\" 'e'\tf=%20", id="punctuation"),
        _case("X-Semicolon", ";", b"X-Semicolon: ;", id="semicolon"),
        _case("X-Long", "v" * 8000, b"X-Long: " + b"v" * 8000, id="long"),
        _case("User-Agent", "mine/1", b"User-Agent: mine/1", id="user-agent"),
        _case("User-Agent", "", b"User-Agent:", id="no-user-agent"),
        _case("Content-Type", "a/b", b"Content-Type: a/b", id="content-type"),
        _case("Content-Type", "", b"Content-Type:", id="empty-content-type"),
        _case("Authorization", "Bearer x", b"Authorization: Bearer x", id="authorization"),
        _case("Cookie", "a=b; c=d", b"Cookie: a=b; c=d", id="cookie"),
        _case("Referer", "http://x/", b"Referer: http://x/", id="referer"),
    ],
)
def test_a_header_arrives_once_and_unchanged(sender: Sender, name: str, value: str, line: bytes) -> None:
    with RawServer(answering(OK)) as partner:
        sender.send(partner.url(), headers={name: value})

    (received,) = partner.requests
    assert _headers(received) == [line, b"Content-Length: 4"]
    assert len(received.header(name)) == 1


@pytest.mark.parametrize("name", ["Accept", "Accept-Encoding", "Host"])
def test_a_header_that_libcurl_would_add_is_replaced(sender: Sender, name: str) -> None:
    with RawServer(answering(OK)) as partner:
        sender.send(partner.url(), headers={name: "mine"})

    assert partner.requests[0].header(name) == [b"mine"]


def test_a_content_length_that_was_given_is_not_sent_twice(sender: Sender) -> None:
    """``requests`` adds one of its own where an AuthBase plug-in is used."""
    with RawServer(answering(OK)) as partner:
        sender.send(partner.url(), headers={"Content-Length": "4"})

    assert partner.requests[0].header("content-length") == [b"4"]


def test_many_headers_arrive_in_their_order(sender: Sender) -> None:
    headers = {f"X-Number-{number}": str(number) for number in range(64)}

    with RawServer(answering(OK)) as partner:
        sender.send(partner.url(), headers=headers)

    expected = [f"{name}: {value}".encode() for name, value in headers.items()]
    assert _headers(partner.requests[0]) == [*expected, b"Content-Length: 4"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("kibibytes", [256, 2048])
def test_a_large_body_is_sent_at_once_without_asking(sender: Sender, method: str, kibibytes: int) -> None:
    """Above one MiB libcurl would wait a second for a 100 Continue."""
    body = EVERY_BYTE * 4 * kibibytes

    with RawServer(answering(OK)) as partner:
        exchange = sender.send(partner.url(), method, body)

    (received,) = partner.requests
    assert exchange.status == 200
    assert received.header("expect") == []
    assert received.header("transfer-encoding") == []
    assert received.body == body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(sender: Sender, status: int) -> None:
    with RawServer(answering(OK)) as elsewhere:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url('/b')}\r\nContent-Length: 0\r\n\r\n".encode()
        with RawServer(answering(moved)) as partner:
            exchange = sender.send(partner.url("/a"))

    assert exchange.status == status
    assert exchange.header("location") == elsewhere.url("/b")
    assert [received.line for received in partner.requests] == [b"POST /a HTTP/1.1"]
    assert elsewhere.connections == 0


def test_a_challenge_is_not_answered_and_a_cookie_not_kept(sender: Sender) -> None:
    challenge = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n'
    )

    with RawServer(answering(challenge)) as partner:
        statuses = [sender.send(partner.url()).status for _ in range(2)]

    assert statuses == [401, 401]
    assert [_headers(received) for received in partner.requests] == [[b"Content-Length: 4"]] * 2
