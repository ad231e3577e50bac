"""From a claim to a request: which header wins, plug-ins for authentication, and nothing of it in any repr."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth

from deliveries.transport.engine import Engine
from deliveries.transport.request import USER_AGENT, Limits, Outgoing, prepare, sensitive_values
from notifier import __version__
from tests.integration.transport.sending import LOOPBACK, PATIENCE_SECONDS, Sender, new_engine
from tests.support.raw_server import OK, RawServer, Received, answering

_case = pytest.param

NOW = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LIMITS = Limits(connect_timeout=5.0, total_timeout=5.0, allow_private_cidrs=LOOPBACK)


def _prepared(url: str = "http://127.0.0.1/in", **given: Any) -> requests.PreparedRequest:
    fields: dict[str, Any] = {
        "method": "POST",
        "url": url,
        "headers": {},
        "default_headers": {},
        "body": b"body",
        "content_type": None,
        "webhook_id": "018f-id",
        "attempt_no": 3,
        "traceparent": None,
        "now": NOW,
    }
    return prepare(**(fields | given))


def _arrived(sender: Sender, **given: Any) -> Received:
    """What the partner has of the request."""
    with RawServer(answering(OK)) as partner:
        outgoing = Outgoing(_prepared(partner.url(given.pop("path", "/in")), **given), LIMITS)
        assert sender.engine.submit(outgoing).result(PATIENCE_SECONDS).status == 200
    (received,) = partner.requests
    return received


def test_what_every_request_has(sender: Sender) -> None:
    received = _arrived(sender)

    sent = {line.partition(b":")[0]: line.partition(b": ")[2] for line in received.headers}
    assert set(sent) == {
        b"Host", b"User-Agent", b"Accept", b"Accept-Encoding", b"Webhook-Id", b"Webhook-Timestamp", b"Webhook-Attempt",
        b"Content-Length",
    }  # fmt: skip
    assert sent[b"User-Agent"] == f"notifier/{__version__}".encode()
    assert sent[b"Webhook-Id"] == b"018f-id"
    assert sent[b"Webhook-Timestamp"] == b"1772366400"
    assert sent[b"Webhook-Attempt"] == b"3"
    assert len(received.headers) == 8
    assert received.body == b"body"


def test_the_trace_goes_on(sender: Sender) -> None:
    received = _arrived(sender, traceparent=TRACEPARENT)

    assert received.header("traceparent") == [TRACEPARENT.encode()]


@pytest.mark.parametrize(
    ("default_headers", "content_type", "headers", "expected"),
    [
        _case({}, None, {}, [], id="none"),
        _case({"Content-Type": "partner/x"}, None, {}, [b"partner/x"], id="partner"),
        _case({"Content-Type": "partner/x"}, "body/x", {}, [b"body/x"], id="content-type-over-partner"),
        _case({"content-type": "partner/x"}, "body/x", {"CONTENT-TYPE": "task/x"}, [b"task/x"], id="task-over-all"),
        _case({"Content-Type": "partner/x"}, None, {"Content-Type": "task/x"}, [b"task/x"], id="task-over-partner"),
        _case({}, "body/x", {"Content-Type": ""}, [b""], id="task-empties-it"),
    ],
)
def test_the_nearest_content_type_wins(
    sender: Sender,
    default_headers: dict[str, str],
    content_type: str | None,
    headers: dict[str, str],
    expected: list[bytes],
) -> None:
    received = _arrived(sender, default_headers=default_headers, content_type=content_type, headers=headers)

    assert received.header("content-type") == expected


def test_a_task_s_header_replaces_the_partner_s_whatever_its_case(sender: Sender) -> None:
    received = _arrived(
        sender,
        default_headers={"X-Both": "partner", "X-Partner": "1", "User-Agent": "partner/1"},
        headers={"x-both": "task", "X-Task": "2", "user-agent": "task/1"},
    )

    assert received.header("x-both") == [b"task"]
    assert received.header("x-partner") == [b"1"]
    assert received.header("x-task") == [b"2"]
    assert received.header("user-agent") == [b"task/1"]


def test_nobody_replaces_the_webhook_s_own_headers(sender: Sender) -> None:
    """Accept refuses these names; a partner's defaults and a plug-in's input go through here as well."""
    theirs = {"webhook-id": "x", "WEBHOOK-TIMESTAMP": "x", "Webhook-attempt": "x", "TraceParent": "x"}

    received = _arrived(sender, default_headers=theirs, headers=theirs, traceparent=TRACEPARENT)

    assert received.header("webhook-id") == [b"018f-id"]
    assert received.header("webhook-timestamp") == [b"1772366400"]
    assert received.header("webhook-attempt") == [b"3"]
    assert received.header("traceparent") == [TRACEPARENT.encode()]


def test_basic_authentication(sender: Sender) -> None:
    received = _arrived(sender, auth=HTTPBasicAuth("somebody", "p\xe4ss"))

    assert received.header("authorization") == [b"Basic c29tZWJvZHk6cORzcw=="]
    assert received.header("content-length") == [b"4"]


class _SignsTheBody(AuthBase):
    """What a partner's own scheme may need: method, target, body and the headers that are there already."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        assert isinstance(request.body, bytes)
        webhook_id = request.headers["webhook-id"]
        signed = f"{request.method} {request.path_url} {webhook_id} ".encode() + request.body
        request.headers["X-Signature"] = hmac.new(b"key", signed, hashlib.sha256).hexdigest()
        return request


def test_a_plug_in_that_signs_the_request(sender: Sender) -> None:
    body = bytes(range(256))

    received = _arrived(sender, path="/a/../b?x=%7e", body=body, auth=_SignsTheBody())

    signed = b"POST /a/../b?x=%7e 018f-id " + received.body
    assert received.body == body
    assert received.header("x-signature") == [hmac.new(b"key", signed, hashlib.sha256).hexdigest().encode()]


class _ChangesEverything(AuthBase):
    """Query parameter, body as text, and a header as bytes, as plug-ins that were written for ``requests`` do."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = f"{request.url}?api_key=1"
        request.body = "caf\xe9"
        request.headers["X-Bytes"] = b"caf\xc3\xa9"  # type: ignore[assignment]  # what the stubs do not know of
        return request


def test_a_plug_in_that_changes_url_body_and_headers(sender: Sender) -> None:
    received = _arrived(sender, auth=_ChangesEverything())

    assert received.line == b"POST /in?api_key=1 HTTP/1.1"
    assert received.body == b"caf\xc3\xa9"
    assert received.header("content-length") == [b"5"]
    assert received.header("x-bytes") == [b"caf\xc3\xa9"]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "HEAD"])
def test_a_plug_in_without_a_body_to_sign(sender: Sender, method: str) -> None:
    received = _arrived(sender, method=method, body=None, auth=HTTPBasicAuth("a", "b"))

    assert received.header("authorization") == [b"Basic YTpi"]
    assert received.header("content-length") == ([b"0"] if method == "POST" else [])
    assert received.body == b""


def test_a_plug_in_that_waits_for_a_challenge_is_refused() -> None:
    """There is no second request in an attempt: better no request than one without its credentials."""
    with pytest.raises(ValueError, match="response"):
        _prepared(auth=HTTPDigestAuth("somebody", "secret"))


def test_url_and_body_are_taken_as_they_are() -> None:
    """``requests`` itself would resolve the dots and decode what need not be encoded."""
    prepared = _prepared("http://127.0.0.1/a/../b/%7e?q=%7e", body=b"\0\xff")

    assert prepared.url == "http://127.0.0.1/a/../b/%7e?q=%7e"
    assert prepared.body == b"\0\xff"
    assert prepared.headers["user-agent"] == USER_AGENT


def test_what_must_not_be_shown_should_the_partner_echo_it() -> None:
    headers = {"Authorization": "Bearer abc", "X-API-KEY": "k1", "X-Mine": "m v", "X-Plain": "p"}
    basic = {"Authorization": "Basic dXM6cDp3", "Cookie": "a=b; c=d", "Proxy-Authorization": "Basic ?"}

    assert sensitive_values(headers, ("x-mine",)) == ["Bearer abc", "abc", "k1", "m v", "v"]
    assert sensitive_values(basic, ()) == [
        "Basic dXM6cDp3", "dXM6cDp3", "us:p:w", "p:w", "a=b; c=d", "b", "d", "Basic ?", "?",
    ]  # fmt: skip


def test_nothing_shows_what_is_sent_or_came_back(caplog: pytest.LogCaptureFixture) -> None:
    """Invariant 7: reprs end in logs, tracebacks and error trackers."""
    caplog.set_level(0)
    echo = b"HTTP/1.1 200 OK\r\nX-Echo: canary\r\nContent-Length: 6\r\n\r\ncanary"
    engine: Engine = new_engine()

    with RawServer(answering(echo)) as partner:
        prepared = _prepared(
            partner.url("/canary?canary"),
            headers={"X-Canary": "canary"},
            default_headers={"X-Default": "canary"},
            body=b"canary",
            auth=HTTPBasicAuth("canary", "canary"),
        )
        outgoing = Outgoing(prepared, LIMITS)
        future = engine.submit(outgoing)
        exchange = future.result(PATIENCE_SECONDS)
        failed = engine.submit(Outgoing(_prepared("http://127.0.0.1:1/canary", body=b"canary"), LIMITS))
        failure = failed.result(PATIENCE_SECONDS)
        engine.stop()

    assert exchange.body == b"canary"
    assert exchange.header("x-echo") == "canary"
    shown = [prepared, outgoing, LIMITS, engine, future, exchange, exchange.timing, failed, failure]
    assert [text for text in map(repr, shown) if "canary" in text.lower()] == []
    assert "canary" not in failure.failure_detail
    assert "canary" not in caplog.text
