"""Requests that need secrets, against a real partner: resolved, signed, authenticated; what cannot be had fails alone."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import OperationalError
from standardwebhooks import Webhook

from deliveries.credentials import ENDPOINT_PAUSE_SECONDS, YOUNGEST_REFUSED_SECONDS, Credentials
from deliveries.sending import Sending, send
from deliveries.transport.engine import Engine
from deliveries.transport.transfer import into
from notifier import clock, sealing, secret_store
from notifier.models import Partner
from notifier.policy import signing
from notifier.policy.exchange import Exchange, FailureKind
from notifier.secret_store import Unavailable, database
from tests.integration.transport.certificates import Authority
from tests.integration.transport.sending import LOOPBACK, new_engine
from tests.integration.transport.test_mutual_tls import who_are_you
from tests.support.factories import make_partner, make_task
from tests.support.raw_server import RawServer, answering
from tests.support.secrets import TokenServer, response, set_secrets
from tests.support.stations import Stations
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 20


class Counting:
    """The chosen backend, and how often it was asked for values."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.error: Exception | None = None

    def known(self, partner_id: str, names: Collection[str]) -> set[str]:
        return secret_store.backend().known(partner_id, names)

    def values(self, partner_id: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        self.asked.append(set(names))
        if self.error is not None:
            raise self.error
        return secret_store.backend().values(partner_id, names)


class Worker:
    """Claims a partner's tasks and sends them; the clock of its credentials stands still."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = 1000.0
        self.backend = Counting()
        self.credentials = Credentials(engine, self.backend, clock=lambda: self.now)
        self.credentials.station.start()
        self._stations = Stations()

    def begin(self, partner: Partner) -> tuple[Sending, Future[Exchange]]:
        (sending,) = self._stations.turn(partner)
        future: Future[Exchange] = Future()
        send(sending, self.engine, into(future), now=clock.now(), credentials=self.credentials)
        return sending, future

    def send(self, partner: Partner, url: str, **fields: Any) -> Exchange:
        make_task(partner, target_url=url, **fields)
        return self.begin(partner)[1].result(PATIENCE_SECONDS)

    def stop(self) -> None:
        self.credentials.stop()
        self.credentials.station.join(5)
        self.engine.stop()


@pytest.fixture
def worker() -> Iterator[Worker]:
    working = Worker(new_engine())
    yield working
    working.stop()


def _partner(**fields: Any) -> Partner:
    return make_partner(allow_hosts=["127.0.0.1:*"], allow_private_cidrs=list(LOOPBACK), **fields)


def _oauth(tokens: TokenServer, **fields: Any) -> dict[str, Any]:
    return {
        "type": "oauth2_client_credentials", "token_url": tokens.server.url("/token"), "client_id": "us:1",
        "client_secret": "client", **fields,
    }  # fmt: skip


# --- References ---------------------------------------------------------------------------------------------------


def test_references_are_resolved_at_send_and_each_attempt_anew(worker: Worker) -> None:
    partner = _partner(headers={"X-Api-Key": "{{secret:key}}", "X-Team": "a {{ secret:team }} b"})
    set_secrets(partner, key="k-1", team="{{secret:key}}", token="t-1")

    with RawServer(answering(response(200))) as server:
        worker.send(partner, server.url(), headers={"Authorization": "Bearer {{secret:token}}"})
        set_secrets(partner, key="k-2")
        worker.now += 100
        worker.send(partner, server.url(), headers=sealing.seal_headers({"X-Api-Key": "x{{secret:token}}y"}))

    first, second = server.requests
    assert first.header("authorization") == [b"Bearer t-1"]
    assert first.header("x-api-key") == [b"k-1"]
    # What a secret holds is sent as it is.
    assert first.header("x-team") == [b"a {{secret:key}} b"]
    assert second.header("x-api-key") == [b"xt-1y"]
    assert second.header("x-team") == [b"a {{secret:key}} b"]


def test_what_is_read_is_used_for_some_seconds_and_no_longer(worker: Worker) -> None:
    partner = _partner()
    set_secrets(partner, one="1111", two="2222")

    with RawServer(answering(response(200))) as server:
        for seconds in (0.0, 4.9, 0.2):
            worker.now += seconds
            worker.send(partner, server.url(), headers={"X-A": "{{secret:one}}"})
        worker.send(partner, server.url(), headers={"X-A": "{{secret:two}}"})

    assert worker.backend.asked == [{"one"}, {"one"}, {"one", "two"}]


def test_without_secrets_nothing_is_asked_and_the_engine_has_it_at_once(worker: Worker) -> None:
    partner = _partner(headers={"Cookie": "a=b"})

    with RawServer(answering(response(200))) as server:
        exchange = worker.send(partner, server.url(), headers=sealing.seal_headers({"Authorization": "Bearer x"}))

    assert exchange.status == 200
    assert worker.backend.asked == []
    assert server.requests[0].header("cookie") == [b"a=b"]


@pytest.mark.parametrize("value", ["line\nbreak", "carriage\rreturn", "nul\x01", "beyond \u0416"])
def test_a_secret_that_no_header_can_carry_fails_without_being_shown(worker: Worker, value: str) -> None:
    partner = _partner()
    set_secrets(partner, token=value)

    exchange = worker.send(partner, "http://127.0.0.1:9/", headers={"X-A": "{{secret:token}}"})

    assert exchange.failure is FailureKind.CREDENTIALS
    assert exchange.failure_detail == "a secret in X-A has a line break, a control character or one outside Latin-1"
    assert not exchange.maybe_sent


def test_a_secret_that_was_removed_fails_until_it_is_there_again(worker: Worker) -> None:
    partner = _partner(signing_secrets=["sign"])

    with RawServer(answering(response(200))) as server:
        missing = worker.send(partner, server.url(), headers={"X-A": "{{secret:token}}"})
        set_secrets(partner, token="tttt", sign=signing.hmac_secret(b"k" * 24))
        worker.now += 6
        found = worker.send(partner, server.url(), headers={"X-A": "{{secret:token}}"})

    assert (missing.failure, missing.failure_detail) == (FailureKind.CREDENTIALS, "the secret 'token' does not exist")
    assert found.status == 200
    assert len(server.requests) == 1


def test_a_store_that_cannot_be_asked_fails_those_who_need_it_only(worker: Worker) -> None:
    worker.backend.error = Unavailable("the vault is sealed")
    partner, other = _partner(), _partner()

    with RawServer(answering(response(200))) as server:
        needing = worker.send(partner, server.url(), headers={"X-A": "{{secret:token}}"})
        plain = worker.send(other, server.url())

    assert needing.failure is FailureKind.CREDENTIALS
    assert needing.failure_detail == "the store of secrets cannot be used: the vault is sealed"
    assert plain.status == 200


def test_a_backend_that_raises_whatever_ends_no_worker_and_shows_nothing(worker: Worker) -> None:
    worker.backend.error = KeyError("CANARY")

    exchange = worker.send(_partner(), "http://127.0.0.1:9/", headers={"X-A": "{{secret:token}}"})

    assert exchange.failure_detail == "the store of secrets failed with KeyError"
    assert worker.credentials.station.thread.is_alive()


def test_while_the_database_is_away_what_needs_a_secret_waits_for_it(worker: Worker) -> None:
    worker.backend.error = OperationalError("away")
    partner = _partner()
    set_secrets(partner, token="tttt")

    with RawServer(answering(response(200))) as server:
        make_task(partner, target_url=server.url(), headers={"X-A": "{{secret:token}}"})
        _, future = worker.begin(partner)
        wait_until(lambda: len(worker.backend.asked) >= 2, seconds=10, what="the station to ask again")
        assert not future.done()
        worker.backend.error = None

        assert future.result(PATIENCE_SECONDS).status == 200


def test_a_key_that_this_process_does_not_have_loses_nothing(worker: Worker, settings: Any) -> None:
    partner = _partner()
    headers = sealing.seal_headers({"Authorization": "Bearer x"})
    settings.SECRET_KEY = "another" * 10

    exchange = worker.send(partner, "http://127.0.0.1:9/", headers=headers)

    assert exchange.failure is FailureKind.CREDENTIALS
    assert "NOTIFIER_SEALING_KEYS" in exchange.failure_detail


# --- Signing and Basic --------------------------------------------------------------------------------------------


def test_every_version_in_use_signs_every_attempt(worker: Worker) -> None:
    partner = _partner(signing_secrets=["hmac", "ed"])
    old, new = signing.hmac_secret(b"o" * 32), signing.hmac_secret(b"n" * 32)
    set_secrets(partner, hmac=old, ed=signing.ed25519_secret(b"e" * 32))
    database.put(partner, "hmac", new, overlap=database.MAX_OVERLAP, now=clock.now())
    body = json.dumps({"order": 1}).encode()

    with RawServer(answering(response(200))) as server:
        worker.send(partner, server.url(), body=body)
        worker.send(partner, server.url(), http_method="GET")

    first, second = server.requests
    assert [part.split(b",")[0] for part in first.header("webhook-signature")[0].split(b" ")] == [b"v1", b"v1", b"v1a"]
    for received in (first, second):
        headers = {
            name: received.header(name)[0].decode() for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        }
        for key in (old, new):
            Webhook(key).verify(received.body, headers, json_parse=False)


def test_a_signing_secret_that_is_none_fails_without_being_shown(worker: Worker) -> None:
    partner = _partner(signing_secrets=["hmac"])
    set_secrets(partner, hmac="CANARY")

    exchange = worker.send(partner, "http://127.0.0.1:9/")

    assert exchange.failure is FailureKind.CREDENTIALS
    assert "begins with whsec_" in exchange.failure_detail
    assert "CANARY" not in exchange.failure_detail


def test_basic_and_the_notifications_own_authorization_goes_before_it(worker: Worker) -> None:
    partner = _partner(auth={"type": "basic", "username": "us", "password": "pass"})
    set_secrets(partner, **{"pass": "p:w é"})

    with RawServer(answering(response(200))) as server:
        worker.send(partner, server.url())
        worker.send(partner, server.url(), headers={"authorization": "Bearer own"})

    first, second = (received.header("authorization")[0] for received in server.requests)
    assert first == b"Basic " + base64.b64encode("us:p:w é".encode())
    assert second == b"Bearer own"


def test_a_sealed_body_is_opened_for_the_partner_alone(worker: Worker) -> None:
    partner = _partner()

    with RawServer(answering(response(200))) as server:
        worker.send(partner, server.url(), body=sealing.seal_bytes(b"plain \xff"), body_sealed=True)

    assert server.requests[0].body == b"plain \xff"


# --- Mutual TLS ---------------------------------------------------------------------------------------------------


def test_a_client_certificate_from_the_store(tmp_path: Any) -> None:
    authority = Authority(tmp_path)
    worker = Worker(new_engine(ca_file=str(authority.file)))
    partners = {name: _partner(client_certificate={"certificate": "cert", "key": "key"}) for name in ("acme", "globex")}
    for name, partner in partners.items():
        certificate, key = authority.client(name)
        set_secrets(partner, cert=certificate, key=key)

    with RawServer(who_are_you, tls=authority.server(asks_for_client=True)) as server:
        answers = [worker.send(partners[name], server.url()).body for name in ("acme", "globex", "acme", "globex")]
        plain = worker.send(_partner(), server.url()).body
    worker.stop()

    assert answers == [b"acme", b"globex", b"acme", b"globex"]
    assert plain == b"nobody"


# --- OAuth 2.0 ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    with server.server:
        yield server


def test_a_token_is_got_once_and_used_until_shortly_before_its_end(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens, scope="a b", audience="them"))
    set_secrets(partner, client="s3cr3t+/")

    for seconds in (0.0, 100.0, 2500.0):
        worker.now += seconds
        assert worker.send(partner, tokens.server.url("/in")).status == 200

    assert tokens.got == [("token-1", 200)] * 3
    (asked,) = tokens.asked
    assert asked.header("authorization") == [b"Basic " + base64.b64encode(b"us%3A1:s3cr3t%2B%2F")]
    assert asked.header("content-type") == [b"application/x-www-form-urlencoded"]
    assert tokens.form() == {"grant_type": "client_credentials", "scope": "a b", "audience": "them"}


def test_the_client_can_authenticate_in_the_body(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens, client_auth="body"))
    set_secrets(partner, client="s3cr3t+/")

    worker.send(partner, tokens.server.url("/in"))

    assert tokens.asked[0].header("authorization") == []
    assert tokens.form() == {"grant_type": "client_credentials", "client_id": "us:1", "client_secret": "s3cr3t+/"}


def test_a_token_is_replaced_before_its_end_while_it_is_used(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens))
    set_secrets(partner, client="s3cr3t")
    worker.send(partner, tokens.server.url("/in"))

    worker.now += 2701
    # The store is asked again by then, which is the station's; the token is still good.
    worker.send(partner, tokens.server.url("/in"))
    wait_until(lambda: len(tokens.asked) == 2, seconds=10, what="the next token to be asked for")
    wait_until(
        lambda: worker.send(partner, tokens.server.url("/in")) and tokens.got[-1][0] == "token-2", seconds=10, what="it"
    )

    assert tokens.got[1] == ("token-1", 200)
    assert len(tokens.asked) == 2


def test_an_ended_token_is_waited_for_by_all_and_asked_for_once(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens))
    set_secrets(partner, client="s3cr3t")
    worker.send(partner, tokens.server.url("/in"))
    worker.now += 3600
    tokens.server.call(tokens.answers.clear)

    begun = []
    for _ in range(20):
        make_task(partner, target_url=tokens.server.url("/in"))
        begun.append(worker.begin(partner)[1])
    wait_until(lambda: len(tokens.asked) == 2, seconds=10, what="the token to be asked for")
    plain = _partner()
    with RawServer(answering(response(200))) as other:
        # Nobody else waits for it.
        assert worker.send(plain, other.url()).status == 200
    assert not any(future.done() for future in begun)
    tokens.server.call(tokens.answers.set)

    assert {future.result(PATIENCE_SECONDS).status for future in begun} == {200}
    assert len(tokens.asked) == 2


def test_a_401_gets_one_new_token_and_the_request_goes_once_more(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens))
    set_secrets(partner, client="s3cr3t")
    worker.send(partner, tokens.server.url("/in"))
    tokens.good.clear()
    worker.now += YOUNGEST_REFUSED_SECONDS

    exchange = worker.send(partner, tokens.server.url("/in"))

    assert exchange.status == 200
    assert tokens.got == [("token-1", 200), ("token-1", 401), ("token-2", 200)]


def test_a_401_to_a_new_token_stays_one(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens))
    set_secrets(partner, client="s3cr3t")

    with RawServer(answering(response(401))) as server:
        first = worker.send(partner, server.url())
        worker.now += YOUNGEST_REFUSED_SECONDS
        second = worker.send(partner, server.url())
        third = worker.send(partner, server.url())

    assert [exchange.status for exchange in (first, second, third)] == [401, 401, 401]
    # The second one had a token that was old enough to be replaced, once.
    assert (len(server.requests), len(tokens.asked)) == (4, 2)


def test_an_endpoint_that_refuses_is_not_asked_again_at_once_and_nothing_of_its_answer_is_shown(
    worker: Worker, tokens: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    partner = _partner(auth=_oauth(tokens))
    set_secrets(partner, client="s3cr3t")
    tokens.token_status = 401

    with caplog.at_level(logging.DEBUG):
        failed = [worker.send(partner, tokens.server.url("/in")) for _ in range(3)]
    tokens.token_status = 200
    worker.now += ENDPOINT_PAUSE_SECONDS
    later = worker.send(partner, tokens.server.url("/in"))

    sentence = "no access token: the token endpoint answered 401 (invalid_client)"
    assert [(exchange.failure, exchange.failure_detail) for exchange in failed] == [
        (FailureKind.CREDENTIALS, sentence)
    ] * 3
    assert later.status == 200
    assert len(tokens.asked) == 2
    assert "s3cr3t" not in caplog.text
    assert "echoed-secret" not in caplog.text
    assert tokens.got == [("token-2", 200)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"allow_hosts": ["localhost:*"]}, "no access token: the token endpoint: Partner"),
        ({"allow_hosts": ["localhost:*", "127.0.0.1:*"], "allow_private_cidrs": ["::1/128"]}, "no access token: the token endpoint could not be asked: address_blocked"),
    ],
)  # fmt: skip
def test_the_endpoint_is_under_the_partners_rules(
    worker: Worker, tokens: TokenServer, fields: dict[str, Any], reason: str
) -> None:
    partner = _partner(auth=_oauth(tokens))
    Partner.objects.filter(pk=partner.pk).update(**fields)
    set_secrets(partner, client="s3cr3t")

    exchange = worker.send(partner, "http://localhost:9/")

    assert exchange.failure is FailureKind.CREDENTIALS
    assert exchange.failure_detail.startswith(reason)
    assert tokens.asked == []


def test_a_new_client_secret_asks_for_a_new_token(worker: Worker, tokens: TokenServer) -> None:
    partner = _partner(auth=_oauth(tokens))
    set_secrets(partner, client="s3cr3t")
    worker.send(partner, tokens.server.url("/in"))

    set_secrets(partner, client="n3w")
    worker.now += 6
    worker.send(partner, tokens.server.url("/in"))

    assert tokens.got == [("token-1", 200), ("token-2", 200)]


@pytest.mark.parametrize(
    "answer",
    [
        response(200, {"access_token": "with blank", "token_type": "bearer"}),
        response(200, {"access_token": "a\nb"}),
        response(200, {"access_token": "abc", "token_type": "mac"}),
        response(200, {"token_type": "bearer"}),
        response(200, ["abc"]),
        response(500),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff{}",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_token_is_a_failure_of_its_own(worker: Worker, answer: bytes) -> None:
    with RawServer(answering(answer)) as endpoint:
        auth = {
            "type": "oauth2_client_credentials",
            "token_url": endpoint.url(),
            "client_id": "us",
            "client_secret": "client",
        }
        partner = _partner(auth=auth)
        set_secrets(partner, client="s3cr3t")

        exchange = worker.send(partner, "http://127.0.0.1:9/")

    assert exchange.failure is FailureKind.CREDENTIALS
    assert exchange.failure_detail.startswith("no access token: the token endpoint")
