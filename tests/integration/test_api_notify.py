"""POST /v1/notify: what is accepted, and how it is stored."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import simplejson
from django.conf import settings
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries

from notifier import clock, sealing
from notifier.models import NotificationLabel, NotificationTask, Partner, Status
from notifier.models.label import label_digest
from tests.support.api import Caller, caller, document, notification
from tests.support.factories import HOST, URL, make_api_key, make_partner
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _accept(partner: Partner, **fields: Any) -> NotificationTask:
    """Post it, which must be accepted, and read the row."""
    answer = document(caller().notify(notification(partner, **fields)), 202)
    return NotificationTask.objects.get(task_id=answer["task_id"])


def test_a_notification_is_accepted_and_its_row_is_there() -> None:
    partner = make_partner()

    answer = caller().notify(notification(partner))

    task = NotificationTask.objects.get()
    assert document(answer, 202) == {
        "task_id": str(task.task_id),
        "status": "pending",
        "partner_id": partner.partner_id,
        "created_at": _time(task.created_at),
        "next_attempt_at": _time(task.created_at),
        "idempotent_replay": False,
    }
    assert answer["Location"] == f"/v1/notify/{task.task_id}"
    assert "Idempotency-Replayed" not in answer
    assert task.task_id.version == 7
    assert task.task_id.int >> 80 == int(task.created_at.timestamp() * 1000)


def test_what_is_not_given_has_its_documented_default() -> None:
    partner = make_partner(max_attempts=7, max_age_hours=5)

    task = _accept(partner)

    assert task.partner == partner
    assert (task.target_url, task.http_method, task.headers) == (URL, "POST", {})
    assert (task.body, task.body_format, task.content_type) == (None, None, None)
    assert (task.idempotency_key, task.priority, task.rank) == (None, 5, 4)
    assert (task.success_condition, task.metadata, task.traceparent) == (None, {}, None)
    assert (task.status, task.dead_reason, task.attempt_count, task.last_attempt_no) == (Status.PENDING, None, 0, None)
    assert task.max_attempts == 7
    assert task.next_attempt_at == task.created_at == task.updated_at
    assert task.expires_at == task.created_at + timedelta(hours=5)
    assert task.finished_at is None
    assert NotificationLabel.objects.count() == 0


def test_everything_that_can_be_given_is_stored() -> None:
    partner = make_partner()
    key, plain = make_api_key()
    now = clock.now()
    asked = notification(
        partner,
        target_url=f"HTTPS://{HOST.upper()}:443/a/%2e./ü?q=1&r",
        method="PATCH",
        headers={"X-Trace": "Grüße", "content-TYPE": "application/vnd.acme+json"},
        body={"ok": True},
        idempotency_key="order-17",
        priority=9,
        success_condition="json.ok == true",
        deliver_at=_time(now + timedelta(hours=1)),
        expires_at=_time(now + timedelta(hours=2)),
        max_attempts=3,
        metadata={"order": "17", "ünït": ""},
    )

    answer = document(Caller(plain).notify(asked, headers={"Traceparent": TRACEPARENT}), 202)

    task = NotificationTask.objects.get()
    assert answer["next_attempt_at"] == _time(now + timedelta(hours=1))
    assert task.created_by_id == key.pk
    assert task.target_url == f"https://{HOST}/a/%2e./%C3%BC?q=1&r"
    assert (task.http_method, task.headers) == ("PATCH", asked["headers"])
    assert (bytes(task.body or b""), task.body_format) == (b'{"ok":true}', "body")
    assert (task.idempotency_key, task.rank, task.max_attempts) == ("order-17", 0, 3)
    assert (task.success_condition, task.traceparent) == ("json.ok == true", TRACEPARENT)
    assert (task.next_attempt_at, task.expires_at) == (now + timedelta(hours=1), now + timedelta(hours=2))
    assert task.metadata == {"order": "17", "ünït": ""}
    digests = NotificationLabel.objects.filter(task=task).values_list("digest", flat=True)
    assert sorted(digests) == sorted([label_digest("order", "17"), label_digest("ünït", "")])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
def test_every_method_of_the_contract_is_accepted(method: str) -> None:
    assert _accept(make_partner(), method=method).http_method == method


@pytest.mark.parametrize("priority", range(10))
def test_priorities_rank_the_larger_first(priority: int) -> None:
    task = _accept(make_partner(), priority=priority)

    assert (task.rank, task.priority) == (9 - priority, priority)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        # numbers: the digits given
        ("1.10", "1.10"),
        ("0.0", "0.0"),
        ("-0.0", "-0.0"),
        ("100", "100"),
        ("12345678901234567890.123", "12345678901234567890.123"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("1E400", "1E+400"),
        ("1e999", "1E+999"),
        ("1.5e-400", "1.5E-400"),
        ("9" * 4_300, "9" * 4_300),
        # strings: UTF-8, nothing escaped that need not be
        ('"Grüße 😀"', '"Grüße 😀"'),
        (r'"\u00fc\ud83d\ude00\/"', '"ü😀/"'),
        (r'"\u0000\u001f\u007f\n\"\\"', '"\\u0000\\u001f\x7f\\n\\"\\\\"'),
        ('"</script>\u2028"', '"</script>\u2028"'),
        ('""', '""'),
        # everything else: compact, in the order given
        ("null", "null"),
        ("true", "true"),
        ("false", "false"),
        ("{}", "{}"),
        ("[]", "[]"),
        ('{ "b" : [ 1 , 2 ] ,\r\n\t"a" : { "c" : null } }', '{"b":[1,2],"a":{"c":null}}'),
        ('{"": 1, " ": 2}', '{"":1," ":2}'),
        ("[" * 63 + "]" * 63, "[" * 63 + "]" * 63),
    ],
    ids=lambda text: text[:30],
)
def test_a_json_body_is_stored_as_the_compact_bytes_that_are_sent(given: str, sent: str) -> None:
    partner = make_partner()
    raw = f'{{"partner_id": "{partner.partner_id}", "target_url": "{URL}", "body": {given}}}'.encode()

    answer = document(caller().notify(raw=raw), 202)

    task = NotificationTask.objects.get()
    assert bytes(task.body or b"") == sent.encode()
    assert (task.body_format, task.content_type) == ("body", "application/json")
    shown = caller().get(f"/v1/notify/{answer['task_id']}").content
    assert simplejson.loads(shown, use_decimal=True)["body"] == simplejson.loads(given, use_decimal=True)
    assert f'"body":{sent}'.encode() in shown


@pytest.mark.parametrize("text", ["", "a", " a\r\n\tb ", "\x00\x7f", "Grüße 😀", '{"a": 1.0}', "x" * 100_000])
def test_a_text_body_is_stored_byte_for_byte(text: str) -> None:
    task = _accept(make_partner(), body_text=text)

    assert (bytes(task.body or b""), task.body_format, task.content_type) == (text.encode(), "body_text", None)
    assert document(caller().get(f"/v1/notify/{task.task_id}"))["body_text"] == text


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\xff\xfe", bytes(range(256)), b"\xed\xa0\x80" * 10_000])
def test_a_binary_body_is_stored_byte_for_byte(octets: bytes) -> None:
    text = base64.b64encode(octets).decode()

    task = _accept(make_partner(), body_base64=text)

    assert (bytes(task.body or b""), task.body_format, task.content_type) == (octets, "body_base64", None)
    assert document(caller().get(f"/v1/notify/{task.task_id}"))["body_base64"] == text


@pytest.mark.parametrize("length", [255, 256, 4_000])
def test_a_content_type_of_any_length_is_kept(length: int) -> None:
    value = "text/plain; x=".ljust(length, "y")

    task = _accept(make_partner(), headers={"Content-Type": value}, body={"a": 1})

    assert task.headers == {"Content-Type": value}
    assert task.content_type is None


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "COOKIE", "X-Api-Key"])
def test_a_sensitive_header_is_sealed(name: str) -> None:
    answer = document(caller().notify(notification(make_partner(), headers={name: "hunter2", "X-A": "b"})), 202)

    task = NotificationTask.objects.get()
    assert "hunter2" not in str(NotificationTask.objects.values().get())
    assert sealing.open_headers(task.headers) == ({name: "hunter2", "X-A": "b"}, ["hunter2"])
    shown = caller().get(f"/v1/notify/{answer['task_id']}")
    assert document(shown)["headers"] == {name: "***", "X-A": "b"}
    assert b"hunter2" not in shown.content


def test_the_setting_adds_sensitive_headers(settings: Any) -> None:
    settings.NOTIFIER_SENSITIVE_HEADERS = ["X-Partner-Token"]

    document(caller().notify(notification(make_partner(), headers={"x-partner-token": "hunter2"})), 202)

    assert "hunter2" not in str(NotificationTask.objects.values().get())


@pytest.mark.parametrize(
    ("shift", "due"),
    [
        case(timedelta(hours=-1), timedelta(), id="past-is-now"),
        case(timedelta(seconds=1), timedelta(seconds=1), id="soon"),
        case(timedelta(days=365), timedelta(days=365), id="a-year"),
    ],
)
def test_deliver_at_is_not_before(shift: timedelta, due: timedelta) -> None:
    now = clock.now()

    task = _accept(make_partner(max_age_hours=2), deliver_at=_time(now + shift))

    assert task.next_attempt_at == max(now + shift, task.created_at)
    assert task.expires_at == task.next_attempt_at + timedelta(hours=2)
    assert task.status == Status.PENDING


@pytest.mark.parametrize(
    "spell",
    [
        case("{:%Y-%m-%dT%H:%M:%SZ}", id="seconds"),
        case("{:%Y-%m-%dt%H:%M:%Sz}", id="lower-case"),
        case("{:%Y-%m-%dT%H:%M:%S.000Z}", id="milliseconds"),
        case("{:%Y-%m-%dT%H:%M:%S.000000000Z}", id="nanoseconds"),
        case("{:%Y-%m-%dT%H:%M:%S+00:00}", id="offset-zero"),
        case("{:%Y-%m-%dT%H:%M:%S-00:00}", id="offset-unknown"),
    ],
)
def test_a_time_may_be_spelled_as_rfc_3339_allows(spell: str) -> None:
    at = (clock.now() + timedelta(hours=1)).replace(microsecond=0)

    assert _accept(make_partner(), deliver_at=spell.format(at)).next_attempt_at == at


@pytest.mark.parametrize("offset", ["+05:30", "-11:00", "+14:00", "+23:59", "-23:59"])
def test_a_time_with_an_offset_is_that_instant(offset: str) -> None:
    at = (clock.now() + timedelta(days=2)).replace(microsecond=0)
    spelled = f"{at:%Y-%m-%dT%H:%M:%S}{offset}"

    task = _accept(make_partner(), expires_at=spelled)

    assert task.expires_at == datetime.fromisoformat(spelled)


@pytest.mark.parametrize(
    "expires_at", ["9999-12-31T23:59:59.999999Z", "9999-12-31T22:59:59-00:59", "2999-01-01T00:00:00Z"]
)
def test_expires_at_may_lie_as_far_ahead_as_a_time_can(expires_at: str) -> None:
    task = _accept(make_partner(), expires_at=expires_at)

    assert task.expires_at == datetime.fromisoformat(expires_at)


@pytest.mark.parametrize("max_attempts", [1, 100])
def test_max_attempts_of_the_request_goes_before_the_partners(max_attempts: int) -> None:
    assert _accept(make_partner(max_attempts=7), max_attempts=max_attempts).max_attempts == max_attempts


@pytest.mark.parametrize(
    "traceparent",
    [
        case(TRACEPARENT, id="version-0"),
        case("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", id="a-later-version"),
    ],
)
def test_a_traceparent_is_stored(traceparent: str) -> None:
    answer = caller().notify(notification(make_partner()), headers={"Traceparent": traceparent})

    assert NotificationTask.objects.get(task_id=document(answer, 202)["task_id"]).traceparent == traceparent


@pytest.mark.parametrize(
    "traceparent",
    [
        case("", id="empty"),
        case("x", id="word"),
        case(TRACEPARENT.upper(), id="upper-case"),
        case(TRACEPARENT + "-x", id="longer"),
        case(TRACEPARENT[:-1], id="shorter"),
        case(f"00-{'0' * 32}-b7ad6b7169203331-01", id="zero-trace"),
        case(f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", id="zero-span"),
        case("ff" + TRACEPARENT[2:], id="version-ff"),
        case(TRACEPARENT + "\n", id="line-feed"),
        case("x" * 10_000, id="long"),
    ],
)
def test_a_traceparent_that_is_none_is_not_stored_and_harms_nothing(traceparent: str) -> None:
    answer = caller().notify(notification(make_partner()), headers={"Traceparent": traceparent})

    assert NotificationTask.objects.get(task_id=document(answer, 202)["task_id"]).traceparent is None


@pytest.mark.parametrize(
    "metadata",
    [
        case({}, id="none"),
        case({"a": ""}, id="empty-value"),
        case({f"{n}": "x" for n in range(16)}, id="16-entries"),
        case({"a": "x" * 2047}, id="2-KiB"),
        case({"a": "ü" * 1023 + "x"}, id="2-KiB-in-utf-8"),
        case({"a.b": "c=d", " ": " ", "😀": "😀"}, id="any-characters"),
    ],
)
def test_metadata_is_stored_and_labelled(metadata: dict[str, str]) -> None:
    task = _accept(make_partner(), metadata=metadata)

    assert task.metadata == metadata
    assert NotificationLabel.objects.filter(task=task).count() == len(metadata)


@pytest.mark.parametrize("key", ["k", "x" * 255, "😀" * 255, " Abc ", "a/b?c=d"])
def test_an_idempotency_key_is_stored_as_given(key: str) -> None:
    assert _accept(make_partner(), idempotency_key=key).idempotency_key == key


def test_without_a_key_the_same_request_twice_is_two_tasks() -> None:
    partner = make_partner()

    first, second = _accept(partner), _accept(partner)

    assert first.task_id != second.task_id
    assert first.fingerprint == second.fingerprint
    assert NotificationTask.objects.count() == 2


def test_a_paused_partner_accepts() -> None:
    assert _accept(make_partner(state={"paused_at": clock.read()})).status == Status.PENDING


def test_an_address_in_a_range_of_the_partners_own_is_accepted() -> None:
    partner = make_partner(allow_hosts=["10.1.2.3:*"], allow_private_cidrs=["10.1.0.0/16"])

    assert _accept(partner, target_url="http://10.1.2.3:8080/in").target_url == "http://10.1.2.3:8080/in"


@pytest.mark.parametrize("size", [settings.NOTIFIER_MAX_BODY_BYTES - 1, settings.NOTIFIER_MAX_BODY_BYTES])
def test_a_request_of_the_greatest_size_is_accepted(size: int) -> None:
    partner = make_partner()
    start = f'{{"partner_id":"{partner.partner_id}","target_url":"{URL}","body_text":"'.encode()

    raw = start + b"x" * (size - len(start) - 2) + b'"}'

    assert len(raw) == size
    document(caller().notify(raw=raw), 202)
    assert len(NotificationTask.objects.get().body or b"") == size - len(start) - 2


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
        "application/json ; charset=utf8", "application/json; charset=utf-8; profile=x", "application/json; version=1",
    ],
)  # fmt: skip
def test_json_by_any_of_its_names_is_read(content_type: str) -> None:
    document(caller().notify(notification(make_partner()), content_type=content_type), 202)

    assert NotificationTask.objects.count() == 1


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "", "nonsense;;q=x"])
def test_the_answer_is_json_whatever_accept_says(accept: str) -> None:
    document(caller().notify(notification(make_partner()), headers={"Accept": accept}), 202)


def test_a_steady_producer_costs_one_query_a_notification(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    producer, partner = caller(), make_partner()
    document(producer.notify(notification(partner)), 202)

    with django_assert_num_queries(1):
        document(producer.notify(notification(partner, body={"a": 1}, idempotency_key="k")), 202)


def test_accepted_notifications_are_counted() -> None:
    producer, partner = caller(), make_partner()
    before = REGISTRY.get_sample_value("notifier_accepted_total") or 0.0

    for fields in ({}, {}, {"priority": 99}, {"deliver_at": "9999-01-01T00:00:00Z"}):
        producer.notify(notification(partner, **fields))

    assert (REGISTRY.get_sample_value("notifier_accepted_total") or 0.0) - before == 2.0


def test_ids_are_those_of_version_7_in_the_order_of_time() -> None:
    partner = make_partner()

    first, second = _accept(partner), _accept(partner)

    assert [uuid.UUID(str(task.task_id)).version for task in (first, second)] == [7, 7]
    assert first.created_at <= second.created_at
    assert first.task_id.int >> 80 <= second.task_id.int >> 80
