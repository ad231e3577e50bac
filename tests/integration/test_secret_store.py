"""Where secrets are kept: versions, other partners' secrets, encryption, and what is accepted at all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured, ValidationError

from config.environment import Environment
from notifier import checks, clock, key_rotation, sealing, secret_store
from notifier.models import NotificationTask, Partner, PartnerSecret
from notifier.policy import signing
from notifier.secret_store import Backend, Unavailable, database
from notifier.secret_store.environment import EnvironmentBackend
from notifier.secret_store.files import FilesBackend
from tests.integration.transport.certificates import Authority
from tests.support.api import caller, document, nothing_stored, notification, problem
from tests.support.factories import make_partner, make_task
from tests.support.secrets import set_secrets

pytestmark = pytest.mark.django_db


class Away:
    """A backend of one's own, which cannot be asked."""

    def known(self, partner_id: str, names: Collection[str]) -> set[str]:
        raise Unavailable("the vault is sealed")

    def values(self, partner_id: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        raise Unavailable("the vault is sealed")


# --- Accepting ----------------------------------------------------------------------------------------------------


def test_a_reference_is_stored_as_it_is_and_shown_as_stars(woken: Any) -> None:
    partner = make_partner()
    set_secrets(partner, token="CANARY-1")

    headers = {"Authorization": "Bearer {{secret:token}}", "X-A": "{{secret:token}}", "Cookie": "a={{secret:token}}"}
    made = document(caller().notify(notification(partner, headers=headers)), 202)

    task = NotificationTask.objects.get()
    assert (task.headers["Authorization"], task.headers["X-A"]) == ("Bearer {{secret:token}}", "{{secret:token}}")
    assert "sealed" in task.headers["Cookie"]
    shown = document(caller().get(f"/v1/notify/{made['task_id']}"))["headers"]
    assert shown == {"Authorization": "***", "X-A": "{{secret:token}}", "Cookie": "***"}


@pytest.mark.parametrize("name", ["other", "retired", "Token", "", "no name"])
def test_a_secret_that_the_partner_does_not_have_is_refused(name: str) -> None:
    partner = make_partner()
    set_secrets(partner, token="CANARY-1")
    set_secrets(make_partner(), other="CANARY-2")
    PartnerSecret.objects.create(
        partner=partner, name="retired", version=1, sealed="x", created_at=clock.now(), retires_at=clock.now()
    )

    answer = caller().notify(notification(partner, headers={"X-A": f"{{{{secret:{name}}}}}"}))

    assert [entry["field"] for entry in problem(answer, 422, "unknown_secret")["details"]] == ["headers"]
    nothing_stored()


def test_a_store_that_cannot_be_asked_is_said_so(settings: Any) -> None:
    settings.NOTIFIER_SECRETS_BACKEND = f"{__name__}.Away"
    partner = make_partner()

    answer = caller().notify(notification(partner, headers={"X-A": "{{secret:token}}"}))

    problem(answer, 503, "secrets_unavailable")
    assert answer["Retry-After"] == "5"
    nothing_stored()
    document(caller().notify(notification(partner)), 202)


@pytest.mark.django_db(transaction=True)
def test_a_body_is_sealed_where_the_partner_says_so(woken: Any) -> None:
    partner = make_partner(seal_bodies=True)

    made = document(caller().notify(notification(partner, body={"iban": "CANARY-1"}, idempotency_key="k")), 202)
    again = caller().notify(notification(partner, body={"iban": "CANARY-1"}, idempotency_key="k"))
    without = document(caller().notify(notification(partner)), 202)

    assert document(again)["task_id"] == made["task_id"]
    task = NotificationTask.objects.get(task_id=made["task_id"])
    assert task.body_sealed
    assert b"CANARY" not in bytes(task.body or b"")
    assert sealing.unseal_bytes(bytes(task.body or b"")) == b'{"iban":"CANARY-1"}'
    assert document(caller().get(f"/v1/notify/{made['task_id']}"))["body"] == "***"
    assert not NotificationTask.objects.get(task_id=without["task_id"]).body_sealed


# --- The database -------------------------------------------------------------------------------------------------


def test_versions_overlap_and_the_newest_is_first() -> None:
    partner, now = make_partner(), clock.now()
    day = timedelta(days=1)

    for number in (1, 2, 3):
        made = database.put(
            partner, "token", f"value-{number}", overlap=day, now=now - (3 - number) * timedelta(hours=30)
        )

    assert made.version == 3
    backend = secret_store.backend()
    # The first one retired six hours ago.
    assert backend.values(partner.partner_id, ["token", "none"]) == {"token": ("value-3", "value-2")}
    assert backend.known(partner.partner_id, ["token", "none"]) == {"token"}
    assert backend.values(make_partner().partner_id, ["token"]) == {}
    database.put(partner, "token", "value-4", now=now)
    assert backend.values(partner.partner_id, ["token"]) == {"token": ("value-4",)}
    assert database.remove(partner, "token") > 0
    assert backend.known(partner.partner_id, ["token"]) == set()


def test_nothing_readable_is_stored() -> None:
    partner = make_partner(headers={"Authorization": "Bearer CANARY-1", "X-Team": "blue"})
    set_secrets(partner, token="CANARY-2")

    stored = str([*PartnerSecret.objects.values(), *Partner.objects.values()])

    assert "CANARY" not in stored
    assert "CANARY" not in repr(PartnerSecret.objects.get())
    partner.refresh_from_db()
    before = dict(partner.headers)
    partner.save()
    assert partner.headers == before


@pytest.mark.parametrize(
    ("name", "value", "overlap", "field"),
    [
        ("a.b", "value", 0, "name"),
        ("", "value", 0, "name"),
        ("x" * 65, "value", 0, "name"),
        ("token", "", 0, "value"),
        ("token", "CANARY\0", 0, "value"),
        ("token", "C" * 65_537, 0, "value"),
        ("token", "whsec_CANARY", 0, "value"),
        ("token", "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----", 0, "value"),
        ("token", "value", -1, "overlap"),
        ("token", "value", 9000, "overlap"),
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_it(name: str, value: str, overlap: int, field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        database.put(make_partner(), name, value, overlap=timedelta(hours=overlap), now=clock.now())

    assert list(raised.value.message_dict) == [field]
    assert "CANARY" not in str(raised.value)
    assert PartnerSecret.objects.count() == 0


def test_keys_that_can_be_used_are_taken(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).client("us")

    set_secrets(make_partner(), cert=certificate, key=key, sign=signing.hmac_secret(b"s" * 24))

    assert PartnerSecret.objects.count() == 3


# --- Other backends -----------------------------------------------------------------------------------------------


def test_the_environment(settings: Any) -> None:
    settings.NOTIFIER_SECRETS = Environment(
        {"S": '{"acme": {"token": "CANARY-1", "sign": ["new", "old"]}, "globex": {"token": "CANARY-2"}}'}
    ).partner_secrets("S")
    backend: Backend = EnvironmentBackend()

    assert backend.known("acme", ["token", "sign", "none"]) == {"token", "sign"}
    assert backend.values("acme", ["token", "sign", "none"]) == {"token": ("CANARY-1",), "sign": ("new", "old")}
    assert backend.values("initech", ["token"]) == {}
    assert "CANARY" not in repr(settings.NOTIFIER_SECRETS)


@pytest.mark.parametrize(
    "value", ["CANARY", "[]", '{"a": "CANARY"}', '{"a": {"b": 5}}', '{"a": {"b": []}}', '{"a": {"b": ["CANARY", 5]}}', '{"a": {"b": ""}}']
)  # fmt: skip
def test_an_environment_that_cannot_be_read_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^S is not JSON like") as raised:
        Environment({"S": value}).partner_secrets("S")

    assert "CANARY" not in str(raised.value)


def test_files(settings: Any, tmp_path: Path) -> None:
    settings.NOTIFIER_SECRETS_DIR = str(tmp_path)
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "token").write_text("one\n")
    (tmp_path / "acme" / "sign").write_text("new")
    (tmp_path / "acme" / "sign.previous").write_text("old\r\n")
    (tmp_path / "acme" / "folder").mkdir()
    (tmp_path / "outside").write_text("CANARY")
    backend: Backend = FilesBackend()

    names = ["token", "sign", "none", "folder", "../outside", "sign.previous", "token/x", "\0", ""]
    assert backend.known("acme", names) == {"token", "sign"}
    assert backend.values("acme", names) == {"token": ("one",), "sign": ("new", "old")}
    for partner_id in (".", "..", "globex"):
        assert backend.values(partner_id, ["outside", "token"]) == {}
    (tmp_path / "acme" / "token").write_text("two")
    assert backend.values("acme", ["token"]) == {"token": ("two",)}


def test_files_that_cannot_be_read_are_unavailable(settings: Any, tmp_path: Path) -> None:
    settings.NOTIFIER_SECRETS_DIR = str(tmp_path)
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "token").write_bytes(b"CANARY\xff")

    with pytest.raises(Unavailable) as raised:
        FilesBackend().values("acme", ["token"])
    assert "CANARY" not in str(raised.value)
    assert raised.value.__context__ is None
    settings.NOTIFIER_SECRETS_DIR = str(tmp_path / "none")
    with pytest.raises(Unavailable):
        FilesBackend().known("acme", ["token"])


@pytest.mark.parametrize(
    "name", ["vault", "no.such.module", "notifier.secret_store.nothing", "notifier.secret_store.Backend"]
)
def test_a_backend_that_there_is_not_is_refused(settings: Any, name: str) -> None:
    settings.NOTIFIER_SECRETS_BACKEND = name

    with pytest.raises(ImproperlyConfigured, match=name):
        secret_store.backend()
    assert [error.id for error in checks.secrets_backend_exists(None)] == ["notifier.E001"]


# --- Keys ---------------------------------------------------------------------------------------------------------


def _everything(partner: Partner) -> list[str]:
    """What is sealed, opened."""
    partner.refresh_from_db()
    tasks = list(NotificationTask.objects.order_by("pk"))
    return [
        *(sealing.unseal(secret.sealed) for secret in PartnerSecret.objects.order_by("pk")),
        *sealing.open_headers(partner.headers)[1],
        *(value for task in tasks for value in sealing.open_headers(task.headers)[1]),
        *(sealing.unseal_bytes(bytes(task.body or b"")).decode() for task in tasks if task.body_sealed),
    ]


def test_keys_are_rotated_in_batches_and_a_run_that_was_ended_goes_on(settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.NOTIFIER_SEALING_KEYS = [old]
    partner = make_partner(headers={"Cookie": "a=b", "X-Team": "blue"})
    set_secrets(partner, one="1111", two="2222", three="3333")
    for number in range(5):
        make_task(
            partner, headers=sealing.seal_headers({"Authorization": f"Bearer {number}", "X-A": "a"}),
            body=sealing.seal_bytes(b"body") if number % 2 else b"plain", body_sealed=bool(number % 2),
        )  # fmt: skip
    before = _everything(partner)

    settings.NOTIFIER_SEALING_KEYS = [new, old]
    run = key_rotation.rotate(batch_rows=2)
    first = next(run)
    del run
    again = list(key_rotation.rotate(batch_rows=2))

    assert (first.table, first.looked_at, first.resealed) == ("secrets", 2, 2)
    assert [(step.table, step.looked_at, step.resealed, step.broken) for step in again] == [
        ("secrets", 2, 0, ()), ("secrets", 1, 1, ()), ("partners", 1, 1, ()),
        ("notifications", 2, 2, ()), ("notifications", 2, 2, ()), ("notifications", 1, 1, ()),
    ]  # fmt: skip
    settings.NOTIFIER_SEALING_KEYS = [new]
    assert _everything(partner) == before
    assert sum(step.resealed for step in key_rotation.rotate()) == 0
    onwards = list(
        key_rotation.rotate(after={"secrets": 2**62, "partners": 2**62, "notifications": again[-2].last_key})
    )
    assert [(step.table, step.looked_at) for step in onwards] == [("notifications", 1)]


def test_what_was_sealed_before_there_were_keys_is_rotated_too(settings: Any) -> None:
    partner = make_partner()
    set_secrets(partner, one="1111")

    settings.NOTIFIER_SEALING_KEYS = [Fernet.generate_key().decode()]
    assert sum(step.resealed for step in key_rotation.rotate()) == 1
    settings.SECRET_KEY = "another" * 10

    assert secret_store.backend().values(partner.partner_id, ["one"]) == {"one": ("1111",)}


def test_what_nobody_can_open_is_left_and_named(settings: Any) -> None:
    settings.NOTIFIER_SEALING_KEYS = [Fernet.generate_key().decode()]
    partner = make_partner()
    set_secrets(partner, lost="1111")
    lost = PartnerSecret.objects.get()
    settings.NOTIFIER_SEALING_KEYS = [Fernet.generate_key().decode()]
    set_secrets(partner, found="2222")

    (step, _) = key_rotation.rotate()

    assert (step.looked_at, step.resealed, step.broken) == (2, 0, (lost.pk,))
    assert PartnerSecret.objects.get(pk=lost.pk).sealed == lost.sealed


def test_what_authenticates_and_signs_for_the_partner_is_in_no_header() -> None:
    """A producer could have it sent where they like."""
    auth = {"type": "basic", "username": "u", "password": "password"}
    partner = make_partner(auth=auth, signing_secrets=["hmac"])
    for name in ("password", "hmac", "token"):
        database.put(partner, name, "value", now=clock.now())
    producer = caller()

    for name in ("password", "hmac"):
        answer = producer.notify(notification(partner, headers={"X-A": f"{{{{secret:{name}}}}}"}))
        assert [entry["field"] for entry in problem(answer, 422, "unknown_secret")["details"]] == ["headers"]
    document(producer.notify(notification(partner, headers={"X-A": "{{secret:token}}"})), 202)
