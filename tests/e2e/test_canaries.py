"""Secrets planted wherever one can enter are nowhere to be found: not in the database, the broker, a log, a page or a metric.

Deliveries succeed, fail, crash with their worker, and meet a partner that repeats everything it was sent in any spelling.
"""

from __future__ import annotations

import base64
import http.cookiejar
import json
import os
import re
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet

from notifier.policy import signing
from tests.e2e import scenarios
from tests.integration.transport.certificates import Authority
from tests.support.canaries import canary, finds
from tests.support.raw_server import Connection, RawServer, Received
from tests.support.secrets import response
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

TOKEN_SPECIAL = "/+-._~"
ECHOES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64-url": lambda text: base64.urlsafe_b64encode(b"x" + text.encode()).decode(),
    "url": lambda text: urllib.parse.quote(text, safe=""),
    "form": urllib.parse.quote_plus,
    "json": json.dumps,
    "json-twice": lambda text: json.dumps(json.dumps(text)),
    "json-utf-8": lambda text: json.dumps(text, ensure_ascii=False),
}
PATHS = ("/ok", "/fail", *(f"/echo/{name}" for name in ECHOES), "/cut")
POLICY = {
    "allow_hosts": ["127.0.0.1:*"], "allow_private_cidrs": ["127.0.0.0/8"], "timeout_seconds": 2,
    "retry": {"base_seconds": 0.2, "factor": 1, "max_seconds": 0.2, "max_attempts": 2, "jitter": "none"},
    "circuit": {"failure_ratio": None},
}  # fmt: skip


class EchoingPartner:
    """Repeats what it was sent in headers and body, as the path says; gives access tokens, and hangs where asked to."""

    def __init__(self, tls: ssl.SSLContext | None, tokens: list[str]) -> None:
        self.server = RawServer(self._handle, tls=tls)
        self._tokens = tokens
        self.hanging = 0
        self.hangs = True
        self.clients: set[str | None] = set()

    async def _handle(self, connection: Connection) -> None:
        while True:
            request = await connection.request()
            self.clients.add(connection.client_name)
            path = request.line.split(b" ")[1].decode()
            if path == "/hang" and self.hangs:
                self.hanging += 1
                await connection.closed()
                return
            await connection.send(self._answer(request, path))

    def _answer(self, request: Received, path: str) -> bytes:
        if path == "/token":
            return response(200, {"access_token": self._tokens[0], "token_type": "bearer", "expires_in": 3600})
        if path == "/token/refused":
            return response(400, {"error": request.head.decode("latin-1") + request.body.decode()})
        status = 500 if path == "/fail" else 200
        sent = [line.decode("latin-1").partition(": ")[2] for line in request.headers]
        sent = [value for value in sent if len(value) > 20]
        sent += [base64.b64decode(value[6:]).decode() for value in sent if value.startswith("Basic ")]
        sent += [request.body.decode("latin-1"), request.body.decode()]
        if path == "/cut":
            # Each begins shortly before the end of what is kept, or of what is read.
            spread = "".join(f"{value} " for value in sent)
            text = (
                "x" * (2048 - 30) + spread
                if sent[0].startswith("x")
                else "".join(value.rjust(2048 + 9 - len(value)) for value in sent[:1]) + spread
            )
            return _raw(status, [], text)
        encode = ECHOES.get(path.removeprefix("/echo/"), str)
        return _raw(status, [encode(value) for value in sent], " ".join(encode(value) for value in sent))


def _raw(status: int, headers: list[str], text: str) -> bytes:
    lines = "".join(
        f"X-Echo-{number}: {value}\r\n"
        for number, value in enumerate(headers)
        if value.isprintable() and len(value) < 3000
    )
    body = text.encode()
    return f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1", "replace") + body


class Admin:
    """A person's browser, logged in."""

    def __init__(self, port: int, password: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.post("/admin/login/", username="root", password=password, next="/admin/")

    def get(self, path: str) -> str:
        with self._opener.open(self._base + path, timeout=30) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> str:
        token = re.findall(r'name="csrfmiddlewaretoken" value="(.+?)"', self.get(path))[0]
        data = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token}).encode()
        with self._opener.open(self._base + path, data, timeout=30) as answer:
            return str(answer.read().decode())

    def crawl(self) -> Iterator[tuple[str, bytes]]:
        """Every page of the admin that a link leads to."""
        seen, waiting = set[str](), ["/admin/"]
        while waiting and len(seen) < 400:
            path = waiting.pop(0)
            if path in seen or "logout" in path or "/jsi18n" in path or "/password_change" in path:
                continue
            seen.add(path)
            page = self.get(path)
            yield f"page {path}", page.encode()
            links = re.findall(r'href="([^"#]+)"', page)
            waiting += [
                urllib.parse.urljoin(path, link.replace("&amp;", "&")) for link in links if not link.startswith("http")
            ]
            waiting = [link for link in waiting if link.startswith("/admin/")]


class Monitor:
    """Everything that goes through the broker while it is watched."""

    def __init__(self, port: int) -> None:
        self.seen: list[bytes] = []
        self._connection = redis.Redis(port=port, socket_timeout=None)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            with self._connection.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                for command in monitor.listen():
                    self.seen.append(str(command).encode())
        except (redis.RedisError, ValueError, OSError):
            pass  # the broker has ended


@pytest.fixture
def canaries() -> dict[str, str]:
    """What partners' people and producers hand over, by how it comes in."""
    return {
        "literal header": canary(),
        "literal cookie": canary("/+&%'é"),
        "header named by the setting": canary(),
        "partner's literal header": canary(),
        "secret in a header": canary(),
        "secret set in the admin": canary(),
        "secret refused in the admin": canary(),
        "basic password": canary(),
        "client secret": canary(),
        "access token": canary(TOKEN_SPECIAL),
        "hmac secret": signing.hmac_secret(canary().encode()[:40]),
        "ed25519 secret": signing.ed25519_secret(canary().encode()[:32]),
        "sealed body": canary(),
        "sealed text": canary(),
    }


def _plant(system: FullSystem, partner: EchoingPartner, canaries: dict[str, str], client: tuple[str, str]) -> None:
    oauth = {
        "type": "oauth2_client_credentials", "client_id": "us", "client_secret": "client", "client_auth": "body",
        "token_url": partner.server.url("/token"),
    }  # fmt: skip
    mtls = {"client_certificate": {"certificate": "certificate", "key": "key"}}
    system.apply_partners(
        headers=POLICY | mtls | {"headers": {"X-Api-Key": canaries["partner's literal header"], "X-Ref": "{{secret:ref}} {{secret:admin}}"}},
        basic=POLICY | mtls | {"auth": {"type": "basic", "username": "us", "password": "password"}},
        oauth=POLICY | mtls | {"auth": oauth},
        refused=POLICY | mtls | {"auth": oauth | {"token_url": partner.server.url("/token/refused")}},
        signed=POLICY | mtls | {"signing_secrets": ["hmac", "ed25519"]},
        sealed=POLICY | mtls | {"seal_bodies": True},
    )  # fmt: skip
    values = {
        "headers": {"ref": canaries["secret in a header"]},
        "basic": {"password": canaries["basic password"]},
        "oauth": {"client": canaries["client secret"]},
        "refused": {"client": canaries["client secret"]},
        "signed": {"hmac": canaries["hmac secret"], "ed25519": canaries["ed25519 secret"]},
        "sealed": {},
    }
    for partner_id, secrets in values.items():
        for name, value in (secrets | {"certificate": client[0], "key": client[1]}).items():
            system.manage("set_secret", partner_id, name, stdin=value)


def _by_admin(system: FullSystem, admin: Admin, canaries: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """One secret by the admin's form, and one that the form refuses; the pages that answer."""
    (key,) = re.findall(
        r"/admin/notifier/partner/(\d+)/change/\"[^>]*>\s*(?:<span[^>]*>)?headers<",
        admin.get("/admin/notifier/partner/"),
    )
    form = "/admin/notifier/partnersecret/add/"
    refused = admin.post(
        form, partner=key, name="no good!", value=canaries["secret refused in the admin"], overlap_hours="-1"
    )
    assert "errorlist" in refused
    yield "page of the refusal", refused.encode()
    taken = admin.post(form, partner=key, name="admin", value=canaries["secret set in the admin"], overlap_hours="0")
    assert "was added successfully" in taken
    yield "page after the setting", taken.encode()


def _notify(system: FullSystem, partner: EchoingPartner, canaries: dict[str, str], path: str) -> list[str]:
    headers = {"Cookie": f"sid={canaries['literal cookie']}", "X-Own": canaries["header named by the setting"]}
    ids = []
    for partner_id in ("headers", "basic", "oauth", "refused", "signed", "sealed"):
        body: dict[str, Any] = {"body": {"hello": "partner"}}
        if partner_id == "sealed":
            body = (
                {"body": {"iban": canaries["sealed body"]}} if path != "/ok" else {"body_text": canaries["sealed text"]}
            )
        own = {"Authorization": f"Bearer {canaries['literal header']}"} if partner_id in ("headers", "sealed") else {}
        ids.append(
            system.client.notify(
                partner_id=partner_id,
                target_url=partner.server.url(path),
                headers=headers | own,
                metadata={"path": path},
                **body,
            )
        )
    return ids


def _database(system: FullSystem) -> Iterator[tuple[str, bytes]]:
    with system.sql() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM `{table}`")
            for row in cursor.fetchall():
                content = b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
                yield f"table {table}", content


def _api(system: FullSystem, ids: list[str]) -> Iterator[tuple[str, bytes]]:
    fixed = ["/v1/notify?limit=200", "/v1/partners", "/v1/schema", "/metrics", "/readyz", "/"]
    tasks = [f"/v1/notify/{task_id}{part}" for task_id in ids for part in ("", "/attempts", "/explain")]
    for path in fixed + tasks:
        answer = system.client.request("GET", path)
        assert answer.status == 200, (path, answer)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, ensure_ascii=False)
        yield f"answer {path}", text.encode()
        yield f"answer's headers {path}", str(answer.headers).encode()


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Logs, and whatever else the processes left; not what the test itself gave them."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "partners.yaml":
            yield f"file {file.name}", file.read_bytes()


def test_no_canary_is_found_anywhere(folder: Path, canaries: dict[str, str], request: pytest.FixtureRequest) -> None:
    authority = Authority(folder)
    client = authority.client("the notifier")
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    partner = EchoingPartner(authority.server(asks_for_client=True), [canaries["access token"]])
    system = FullSystem(
        folder / "running", os.environ["DATABASE_URL"], NOTIFIER_LEASE_SECONDS=6, NOTIFIER_MAX_TIMEOUT_SECONDS=3,
        NOTIFIER_CA_FILE=authority.file, NOTIFIER_SEALING_KEYS=",".join(keys), NOTIFIER_SENSITIVE_HEADERS="X-Own",
        NOTIFIER_TLS="false", NOTIFIER_LOG_LEVEL="DEBUG",
    )  # fmt: skip
    request.addfinalizer(system.stop)
    monitor = Monitor(system.valkey.port)
    password = canary("")
    system.manage(
        "createsuperuser", "--noinput", "--username", "root", "--email", "", DJANGO_SUPERUSER_PASSWORD=password
    )
    # An API key is 43 characters behind its prefix, which is shown.
    planted = canaries | {
        "API key": system.client.key[16:], "first sealing key": keys[0], "second sealing key": keys[1],
        "key of the client certificate": client[1].splitlines()[1], "password": password,
    }  # fmt: skip

    with partner.server:
        _plant(system, partner, canaries, client)
        system.start_all()
        admin = Admin(system.port, password)
        places = list(_by_admin(system, admin, canaries))

        ids = [task_id for path in PATHS for task_id in _notify(system, partner, canaries, path)]
        hung = _notify(system, partner, canaries, "/hang")
        wait_until(lambda: partner.hanging >= 5, seconds=30, what="requests in flight")
        system.worker().kill()
        partner.hangs = False
        system.start_worker("worker-2")
        tasks = scenarios.ended(system.client, ids + hung, seconds=60)

        places += list(_database(system)) + list(_api(system, ids + hung)) + list(admin.crawl())
        places += [("broker", b"\n".join(monitor.seen))]
        places += [("settings", system.manage("diffsettings", "--all").encode())]
        places += [("list", system.manage("list_secrets").encode())]
    system.stop()
    places += list(_files(folder / "running"))

    assert finds(planted, places) == []
    _everything_happened(tasks, partner, places, system)


def _everything_happened(
    tasks: Any, partner: EchoingPartner, places: list[tuple[str, bytes]], system: FullSystem
) -> None:
    """The test looked where things are: requests carried the secrets, and answers, attempts and messages were there."""
    ended: dict[tuple[str, str], str] = {
        (task["partner_id"], task["metadata"]["path"]): task["status"] for task in tasks.values()
    }
    for partner_id in ("headers", "basic", "oauth", "signed", "sealed"):
        assert {path: ended[partner_id, path] for path in (*PATHS, "/hang")} == {
            path: "dead" if path == "/fail" else "succeeded" for path in (*PATHS, "/hang")
        }
    assert {ended["refused", path] for path in PATHS} == {"dead"}
    assert partner.clients == {"the notifier", None}
    by_place = dict(places)
    assert b"deliveries.dispatch" in by_place["broker"]
    masked = [
        place
        for place, content in places
        if place.startswith("table notifier_notificationattempt") and b"***" in content
    ]
    assert len(masked) > len(ECHOES)
    assert sum(place.startswith("page ") for place in by_place) > 50
    assert {
        "file worker.log",
        "file worker-2.log",
        "file web.log",
        "file beat.log",
        "file valkey.log",
    } <= by_place.keys()
    assert b"lease_expired" in b"".join(content for place, content in places if place.startswith("table"))
