"""The audit trail: an entry for each act, in its transaction, without secrets; nothing changes or deletes one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from notifier import api_keys, audit, audit_guard, clock
from notifier.models import ApiKey, AuditEntry, NotificationTask, Partner, PartnerSecret, PartnerState, Status
from notifier.models.audit import AppendOnlyError
from notifier.secret_store import database
from tests.support.api import Caller, document
from tests.support.factories import make_api_key, make_partner, make_task
from tests.support.staff import superuser
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

TRAIL = "/admin/notifier/auditentry/"
PARTNER_FORM = {
    "partner_id": "acme", "name": "Acme", "enabled": "on", "allow_hosts": "acme.example", "allow_private_cidrs": "",
    "connect_timeout_seconds": "3", "timeout_seconds": "5", "headers": "Authorization: Bearer canary-secret",
    "retry_base_seconds": "1", "retry_factor": "2", "retry_max_seconds": "60", "retry_jitter": "full",
    "retry_schedule": "", "max_attempts": "10", "max_age_hours": "72", "success_condition": "status == 200",
    "permanent_statuses": "400", "circuit_failure_ratio": "0.5", "circuit_min_attempts": "20",
    "circuit_window_seconds": "60", "circuit_pause_seconds": "2", "circuit_max_pause_seconds": "300",
}  # fmt: skip


@pytest.fixture
def refusing_trail() -> Iterator[str]:
    """A key, and a database that takes no further entry."""
    plain = make_api_key()[1]
    with connection.cursor() as cursor:
        refusal = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the disk is full'"
        cursor.execute(f"CREATE TRIGGER refuse_entries BEFORE INSERT ON {audit_guard.TABLE} FOR EACH ROW {refusal}")
        yield plain
        cursor.execute("DROP TRIGGER refuse_entries")


def _entries(**narrowed: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(**narrowed).order_by("pk"))


def _one(action: str) -> AuditEntry:
    (entry,) = _entries(action=action)
    return entry


def _held() -> Partner:
    """A partner to which each operation is legal at some time."""
    partner, now = make_partner(), clock.read()
    PartnerState.objects.filter(pk=partner.pk).update(hold_until=now.replace(year=2999), held_at=now)
    return partner


@pytest.mark.parametrize(
    ("path", "action", "column", "before", "after"),
    [
        case("pause", "partner.pause", "paused_at", True, False, id="pause"),
        case("resume", "partner.resume", "paused_at", False, True, id="resume"),
        case("circuit/open", "circuit.open", "circuit_state", "closed", "open", id="open"),
        case("circuit/close", "circuit.close", "circuit_state", "open", "closed", id="close"),
        case("hold/release", "hold.release", "hold_until", False, True, id="release"),
    ],
)
def test_an_operation_by_the_api_names_the_key_and_what_it_changed(
    path: str, action: str, column: str, before: Any, after: Any, woken: list[list[str]]
) -> None:
    partner, (key, plain) = _held(), make_api_key()
    needed: dict[str, Any] = {"resume": {"paused_at": clock.read()}, "circuit/close": {"circuit_state": "open"}}
    PartnerState.objects.filter(pk=partner.pk).update(**needed.get(path, {"circuit_reason": ""}))
    headers = {"X-Request-ID": "request-4711", "X-Forwarded-For": "203.0.113.9"}

    document(Caller(plain).post(f"/v1/partners/{partner.partner_id}/{path}", headers=headers))

    entry = _one(action)
    assert (entry.actor_kind, entry.actor, entry.request_id) == ("api_key", key.prefix, "request-4711")
    # Nobody said that a proxy is in front, so what the caller claims is not believed.
    assert (entry.origin, entry.object_kind, entry.object_id) == ("127.0.0.1", "partner", partner.partner_id)

    def shown(state: Any) -> Any:
        return state[column] if isinstance(before, str) else state[column] is None

    assert (shown(entry.before), shown(entry.after)) == (before, after)


@pytest.mark.parametrize(
    ("act", "status", "action", "after"),
    [case("cancel", Status.PENDING, "task.cancel", "dead", id="cancel"), case("requeue", Status.DEAD, "task.requeue", "pending", id="requeue")],
)  # fmt: skip
def test_cancel_and_requeue_by_api_and_admin(
    act: str, status: Status, action: str, after: str, woken: list[list[str]]
) -> None:
    by_api, by_admin, (key, plain) = make_task(status=status), make_task(status=status), make_api_key()

    document(Caller(plain).post(f"/v1/notify/{by_api.task_id}/{act}"))
    superuser().post("/admin/notifier/notificationtask/", {"action": act, "_selected_action": [by_admin.pk]})

    found = [(entry.actor_kind, entry.actor, entry.object_id) for entry in _entries(action=action)]
    assert found == [("api_key", key.prefix, str(by_api.task_id)), ("user", "root", str(by_admin.task_id))]
    states = _entries(action=action)
    assert {
        (str(entry.before and entry.before["status"]), str(entry.after and entry.after["status"])) for entry in states
    } == {(status.value, after)}


def test_an_operation_by_the_admin_names_the_person(woken: list[list[str]]) -> None:
    partner = make_partner()

    superuser().post(f"/admin/notifier/partner/{partner.pk}/operate/pause/")

    entry = _one("partner.pause")
    assert (entry.actor_kind, entry.actor, entry.origin) == ("user", "root", "127.0.0.1")


@pytest.mark.parametrize("proxies", [1, 2, 3])
def test_behind_proxies_the_outermost_ones_word_is_taken(proxies: int, settings: Any, woken: list[list[str]]) -> None:
    settings.NOTIFIER_PROXIES = proxies
    partner, (_, plain) = make_partner(), make_api_key()
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 198.51.100.7"}

    document(Caller(plain).post(f"/v1/partners/{partner.partner_id}/pause", headers=forwarded))

    assert _one("partner.pause").origin == ["198.51.100.7", "203.0.113.9", "6.6.6.6"][proxies - 1]


@pytest.mark.parametrize("forwarded", ["", "unknown", "<script>", "1.2.3.4:80"])
def test_a_forwarded_address_that_is_none_is_not_taken(forwarded: str, settings: Any, woken: list[list[str]]) -> None:
    settings.NOTIFIER_PROXIES = 1
    partner, (_, plain) = make_partner(), make_api_key()

    document(Caller(plain).post(f"/v1/partners/{partner.partner_id}/pause", headers={"X-Forwarded-For": forwarded}))

    assert _one("partner.pause").origin == "127.0.0.1"


def test_what_was_refused_leaves_no_entry(woken: list[list[str]]) -> None:
    partner, task, (_, plain) = make_partner(), make_task(status=Status.SUCCEEDED), make_api_key()
    before = len(_entries())
    producer = Caller(plain)

    codes = [
        producer.post(f"/v1/partners/{partner.partner_id}/{path}").status_code
        for path in ("resume", "circuit/close", "hold/release")
    ]
    codes += [producer.post(f"/v1/notify/{task.task_id}/{act}").status_code for act in ("cancel", "requeue")]

    assert (codes, len(_entries())) == ([409] * 5, before)


def test_partners_made_changed_and_deleted_in_the_admin() -> None:
    admin = superuser()

    admin.post("/admin/notifier/partner/add/", PARTNER_FORM)
    page = f"/admin/notifier/partner/{Partner.objects.get().pk}/"
    changed = {"timeout_seconds": "7", "headers": "Authorization: Bearer canary-other"}
    admin.post(f"{page}change/", PARTNER_FORM | changed)
    admin.post(f"{page}change/", PARTNER_FORM | changed)
    admin.post(f"{page}delete/", {"post": "yes"})

    made, change, deletion = _entries(object_kind="partner")
    assert [entry.action for entry in (made, change, deletion)] == [
        "partner.create",
        "partner.change",
        "partner.delete",
    ]
    assert made.before is None
    assert made.after is not None
    assert made.after["allow_hosts"] == ["acme.example"]
    assert change.before == {"timeout_seconds": 5.0, "headers": {"Authorization": "***"}}
    assert change.after == {
        "timeout_seconds": 7.0, "headers": {"Authorization": "***"}, "headers_changed": ["Authorization"],
    }  # fmt: skip
    assert (deletion.object_id, deletion.after) == ("acme", None)
    assert "canary" not in json.dumps([[entry.before, entry.after] for entry in _entries()])


def test_partners_from_a_file_are_the_commands(tmp_path: Path) -> None:
    file = tmp_path / "partners.yaml"

    def apply(text: str) -> None:
        file.write_text(text)
        call_command("apply_partners", str(file), stdout=io.StringIO())

    text = "partners: {acme: {timeout_seconds: %d, headers: {X-Api-Key: canary-secret}}}"
    apply(text % 5)
    apply(text % 5)
    apply(text % 6)

    assert [(entry.action, entry.actor_kind, entry.object_id) for entry in _entries()] == [
        ("partner.create", "command", "acme"), ("partner.change", "command", "acme"),
    ]  # fmt: skip
    assert (_one("partner.change").before, _one("partner.change").after) == (
        {"timeout_seconds": 5.0}, {"timeout_seconds": 6.0},
    )  # fmt: skip
    assert _one("partner.create").origin
    assert "canary" not in json.dumps(_one("partner.create").after)


def test_keys_made_changed_rotated_and_revoked_and_never_the_key() -> None:
    made = io.StringIO()
    call_command("create_api_key", "shop", "--scope", "notify:read", stdout=made, stderr=io.StringIO())
    plain = made.getvalue().strip()
    key = ApiKey.objects.get()
    admin = superuser()
    admin.post(f"/admin/notifier/apikey/{key.pk}/change/", {"name": "shops", "scopes": ["notify:read"], "partners": ""})
    rotated = api_keys.rotate(key, overlap=api_keys.DEFAULT_OVERLAP, now=clock.now())
    assert rotated is not None
    admin.post("/admin/notifier/apikey/", {"action": "revoke", "_selected_action": [key.pk]})

    assert [(entry.action, entry.actor_kind) for entry in _entries()] == [
        ("key.create", "command"), ("key.change", "user"), ("key.create", "command"), ("key.rotate", "command"),
        ("key.revoke", "user"),
    ]  # fmt: skip
    change = _one("key.change")
    assert (change.before, change.after) == ({"name": "shop"}, {"name": "shops"})
    trail = json.dumps([[entry.object_id, entry.before, entry.after, entry.actor] for entry in _entries()])
    for secret in (plain, rotated[1], *ApiKey.objects.values_list("hash", flat=True)):
        assert secret not in trail


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "untouched"),
    [
        case("/v1/partners/{partner}/pause", lambda: PartnerState.objects.get(paused_at=None), id="pause"),
        case("/v1/notify/{task}/cancel", lambda: NotificationTask.objects.get(status=Status.PENDING), id="cancel"),
    ],
)
def test_an_act_whose_entry_cannot_be_written_is_undone(
    path: str, untouched: Callable[[], Any], refusing_trail: str, woken: list[list[str]]
) -> None:
    task = make_task()

    answer = Caller(refusing_trail).post(path.format(partner=task.partner.partner_id, task=task.task_id))

    assert answer.status_code >= 500
    assert untouched()
    assert (_entries(actor_kind="api_key"), woken) == ([], [])


# --- Append-only ---


@pytest.mark.parametrize(
    "tamper",
    [
        case(lambda entry: AuditEntry.objects.update(actor="x"), id="update"),
        case(lambda entry: AuditEntry.objects.all().delete(), id="delete"),
        case(lambda entry: entry.delete(), id="delete-one"),
        case(lambda entry: entry.save(), id="save-again"),
        case(lambda entry: AuditEntry.objects.get(pk=entry.pk).save(), id="save-a-read-one"),
        case(lambda entry: AuditEntry.objects.bulk_update([entry], ["actor"]), id="bulk-update"),
        case(lambda entry: AuditEntry.objects.update_or_create({"actor": "x"}, pk=entry.pk), id="or-create"),
        case(lambda entry: AuditEntry.objects.all()._raw_delete("default"), id="raw-delete"),
    ],
)
def test_the_code_refuses_to_change_or_delete_an_entry(tamper: Callable[[AuditEntry], Any]) -> None:
    make_api_key()
    (entry,) = _entries()

    with pytest.raises(AppendOnlyError):
        tamper(entry)

    assert [each.actor for each in _entries()] == [entry.actor]


@pytest.mark.parametrize("sql", ["UPDATE {} SET actor = 'x'", "DELETE FROM {}", "UPDATE {} SET at = at"])
def test_the_database_refuses_it_too(sql: str) -> None:
    make_api_key()
    (entry,) = _entries()

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql.format(audit_guard.TABLE))

    assert [each.actor for each in _entries()] == [entry.actor]


def test_the_admin_shows_it_and_offers_nothing_else() -> None:
    make_api_key()
    (entry,) = _entries()
    admin = superuser()

    listed, page = admin.get(TRAIL), admin.get(f"{TRAIL}{entry.pk}/change/")

    assert entry.object_id in listed.content.decode()
    assert "notify:read" in page.content.decode()
    assert 'name="_save"' not in page.content.decode()
    codes = [admin.post(f"{TRAIL}{address}", {"post": "yes"}).status_code for address in ("add/", f"{entry.pk}/change/", f"{entry.pk}/delete/")]  # fmt: skip
    admin.post(TRAIL, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    assert (codes, len(_entries())) == ([403] * 3, 1)


def test_the_admin_finds_by_whole_ids_and_narrows_by_kind_alone() -> None:
    (first, _), _ = make_api_key(), make_api_key()
    admin: Client = superuser()

    def listed(query: str) -> list[str]:
        return [entry.object_id for entry in admin.get(f"{TRAIL}{query}").context["cl"].result_list]

    assert listed(f"?q={first.prefix}") == [first.prefix]
    assert listed(f"?q={first.prefix[:-1]}") == []
    assert len(listed("?kind=key")) == 2
    assert listed("?kind=partner") == []
    assert admin.get(f"{TRAIL}?after__contains=x").status_code == 400


# --- manage.py audit ---


def _audit(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_shows_the_newest_first_and_narrows() -> None:
    keys = [make_api_key()[0] for _ in range(3)]
    api_keys.revoke(keys[0], now=clock.now())

    assert [line.split(": ")[1].split("; ")[0] for line in _audit()] == [
        f"key.revoke key {keys[0].prefix}", *(f"key.create key {key.prefix}" for key in reversed(keys)),
    ]  # fmt: skip
    assert len(_audit("--limit", "2")) == 2
    assert len(_audit("--object", keys[0].prefix)) == 2
    assert len(_audit("--action", "key.revoke")) == 1
    assert _audit("--actor", "nobody") == []
    assert len(_audit("--since", "2020-01-01T00:00:00Z")) == 4
    assert _audit("--since", "2999-01-01T00:00:00+01:00") == []
    entry = json.loads(_audit("--json", "--limit", "1")[0])
    assert (entry["action"], entry["before"]) == ("key.revoke", {"revoked_at": None})


def test_the_commands_lines_hold_nothing_that_a_terminal_obeys() -> None:
    by = audit.Actor(kind="user", name="a\x1b[2Jb\nc", origin="")
    audit.record(by, "x", object_kind="partner", object_id="\x07", after={"name": "\x1b"})

    (line,) = _audit()

    assert line.isprintable()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--limit", "0"], "--limit 0 is not between 1 and 100000."),
        (["--since", "yesterday"], "--since 'yesterday' is not a time with its offset"),
        (["--since", "2026-01-31T12:00:00"], "is not a time with its offset"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        _audit(*arguments)


@pytest.mark.django_db(transaction=True)
def test_the_triggers_can_be_made_again() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER audit_no_update")
    assert audit_guard.installed(connection) == {"audit_no_delete"}

    assert _audit("--protect") == ["The database refuses to change or delete an entry of the audit trail."]

    assert audit_guard.installed(connection) == set(audit_guard.EVENTS)


def test_secrets_set_and_erased_are_in_it_without_their_values() -> None:
    partner = make_partner(partner_id="acme")

    database.put(partner, "token", "canary-1", now=clock.now())
    database.put(partner, "token", "canary-2", now=clock.now(), overlap=timedelta(hours=1))
    assert database.remove(partner, "token") == 2
    assert database.remove(partner, "token") == 0

    entries = _entries(object_kind="secret")
    assert [(entry.action, entry.object_id) for entry in entries] == [
        ("secret.set", "acme/token"), ("secret.set", "acme/token"), ("secret.remove", "acme/token"),
    ]  # fmt: skip
    assert [entry.after and entry.after["version"] for entry in entries] == [1, 2, None]
    assert entries[2].before == {"versions": [1, 2]}
    assert "canary" not in json.dumps([[entry.before, entry.after] for entry in entries])


def test_secrets_set_and_erased_in_the_admin_are_the_users() -> None:
    partner, admin = make_partner(partner_id="acme"), superuser()
    form = {"partner": str(partner.pk), "name": "token", "value": "canary-1", "overlap_hours": "0"}

    admin.post("/admin/notifier/partnersecret/add/", form)
    admin.post(f"/admin/notifier/partnersecret/{PartnerSecret.objects.get().pk}/delete/", {"post": "yes"})

    made, erased = _entries(object_kind="secret")
    assert [(entry.action, entry.actor_kind) for entry in (made, erased)] == [
        ("secret.set", "user"), ("secret.remove", "user"),
    ]  # fmt: skip
    assert erased.before == {"versions": [1]}
