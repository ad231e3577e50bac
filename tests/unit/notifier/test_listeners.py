"""Where the service itself listens, by its settings and by what the names stand for."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from notifier.listeners import Endpoint, Endpoints, endpoint, own_endpoints
from tests.support.waiting import wait_until

SQLITE: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"}
MYSQL = "django.db.backends.mysql"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web:8000", Endpoint("web", 8000)), ("WEB.Internal:1", Endpoint("web.internal", 1)),
        ("10.0.0.1:65535", Endpoint("10.0.0.1", 65535)), ("[::1]:80", Endpoint("::1", 80)),
    ],
)  # fmt: skip
def test_an_endpoint(text: str, found: Endpoint) -> None:
    assert endpoint(text) == found


@pytest.mark.parametrize(
    "text", ["", "web", ":80", "web:", "web:x", "web:0", "web:65536", "::1:80", "[::1]", "[x:y]:80", "web:８０"]
)
def test_a_bad_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        endpoint(text)


@pytest.mark.parametrize(
    ("database", "broker", "found"),
    [
        (SQLITE, "redis://127.0.0.1:6379/0", [("127.0.0.1", 6379)]),
        (SQLITE, "redis://cache/0", [("cache", 6379)]),
        (SQLITE, "rediss://user:p@ss@Cache.internal:6380/0?ssl_cert_reqs=required", [("cache.internal", 6380)]),
        (SQLITE, "redis://:secret@[::1]:6390/0", [("::1", 6390)]),
        (SQLITE, "redis://", [("localhost", 6379)]),
        (SQLITE, "redis+socket:///run/redis.sock", []),
        (SQLITE, "sentinel://a:26379/0;sentinel://b;sentinel://c:1", [("a", 26379), ("b", 26379), ("c", 1)]),
        ({"ENGINE": MYSQL, "HOST": "db", "PORT": 3307}, "redis+socket:///x", [("db", 3307)]),
        ({"ENGINE": MYSQL, "HOST": "db", "PORT": ""}, "redis+socket:///x", [("db", 3306)]),
        ({"ENGINE": MYSQL, "HOST": ""}, "redis+socket:///x", [("localhost", 3306)]),
        ({"ENGINE": MYSQL, "HOST": "/run/mysqld.sock"}, "redis+socket:///x", []),
    ],
)
def test_the_listeners_of_the_settings(database: dict[str, Any], broker: str, found: list[tuple[str, int]]) -> None:
    assert own_endpoints(database, broker, []) == [Endpoint(host, port) for host, port in found]
    assert own_endpoints(database, broker, ["web:8000"])[0] == Endpoint("web", 8000)


def _has(endpoints: Endpoints, address: str, port: int) -> bool:
    return endpoints.has(ip_address(address), port)


def test_a_listener_by_its_address() -> None:
    own = Endpoints([Endpoint("192.0.2.7", 3306)])

    assert _has(own, "192.0.2.7", 3306)
    for form in ("::ffff:192.0.2.7", "64:ff9b::192.0.2.7", "2002:c000:207::1"):
        assert _has(own, form, 3306)
    assert not _has(own, "192.0.2.7", 3307)
    assert not _has(own, "192.0.2.8", 3306)
    assert not _has(own, "127.0.0.1", 3306)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "127.0.0.9"])
def test_of_a_listener_on_this_machine_every_address_of_the_machine_is_one(host: str) -> None:
    own = Endpoints([Endpoint(host, 8000)])

    for address in ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"):
        assert _has(own, address, 8000)
    assert not _has(own, "192.0.2.7", 8000)
    assert not _has(own, "127.0.0.1", 8001)


def test_a_name_is_looked_up_again_and_keeps_what_it_had_where_that_fails() -> None:
    answers: list[tuple[str, ...]] = [("192.0.2.1", "fe80::1%eth0"), ("192.0.2.2",), ()]

    def look_up(host: str) -> tuple[str, ...]:
        if not (found := answers.pop(0)):
            raise OSError("no such name")
        return found

    own = Endpoints([Endpoint("db", 3306)], look_up=look_up)
    assert not _has(own, "192.0.2.1", 3306)

    own.refresh()
    assert (_has(own, "192.0.2.1", 3306), _has(own, "fe80::1", 3306), _has(own, "192.0.2.2", 3306)) == (
        True,
        True,
        False,
    )
    for _ in range(2):
        own.refresh()
        assert (_has(own, "192.0.2.1", 3306), _has(own, "192.0.2.2", 3306)) == (False, True)


def test_started_it_looks_up_by_itself_and_once_at_a_time() -> None:
    asked: list[str] = []

    def look_up(host: str) -> tuple[str, ...]:
        asked.append(host)
        return ("192.0.2.1",)

    own = Endpoints([Endpoint("db", 3306)], look_up=look_up)
    own.start(wait_seconds=10)
    own.start()

    wait_until(lambda: _has(own, "192.0.2.1", 3306), seconds=10, what="the name to be known")
    assert asked == ["db"]
