"""The admin's API keys: the key is shown once, its hash never; revoked, not deleted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client

from notifier import api_keys, clock
from notifier.admin.api_keys import ApiKeyAdmin
from notifier.models import ApiKey
from tests.support.factories import make_api_key, make_partner
from tests.support.staff import staff, superuser

pytestmark = pytest.mark.django_db

KEYS = "/admin/notifier/apikey/"


@pytest.fixture
def admin() -> Client:
    return superuser()


def _page(key: ApiKey) -> str:
    return f"{KEYS}{key.pk}/change/"


def _rows() -> list[dict[str, Any]]:
    return [dict(row) for row in ApiKey.objects.order_by("pk").values()]


def _revoke(client: Client, *keys: ApiKey) -> list[str]:
    data = {"action": "revoke", "_selected_action": [str(key.pk) for key in keys], "index": "0"}
    return [str(message) for message in get_messages(client.post(KEYS, data).wsgi_request)]


def test_a_new_key_is_shown_once_and_works(admin: Client) -> None:
    make_partner(partner_id="acme")
    data = {"name": "shop <b>", "scopes": ["notify:write", "notify:read"], "partners": "acme\r\n", "_continue": "1"}

    first = admin.post(f"{KEYS}add/", data, follow=True).content.decode()
    second = admin.get(_page(ApiKey.objects.get())).content.decode()

    (plain,) = re.findall(r'<code class="ntf-key">(.+?)</code>', first)
    key = api_keys.find(plain)
    assert key is not None
    assert (key.name, key.scopes, key.partners) == ("shop <b>", ["notify:write", "notify:read"], ["acme"])
    assert "shop <b>" not in first
    assert (plain in second, key.hash in first + second) == (False, False)
    assert plain not in str(LogEntry.objects.values())


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("name", "", "This field is required."),
        ("name", "x" * 201, "Ensure this value has at most 200 characters (it has 201)."),
        ("name", "a\tb", "Must be 1 to 200 printable characters."),
        ("scopes", [], "Must name at least one of notify:write, notify:read, notify:operate."),
        ("scopes", ["admin"], "Select a valid choice. admin is not one of the available choices."),
        ("partners", "acme\nnobody", "There is no partner 'nobody'."),
        ("partners", "ACME", "There is no partner 'ACME'."),
    ],
)
def test_a_bad_value_is_refused_at_its_field_and_no_key_is_made(
    admin: Client, field: str, value: Any, error: str
) -> None:
    make_partner(partner_id="acme")
    data = {"name": "shop", "scopes": ["notify:write"], "partners": "", field: value}

    answer = admin.post(f"{KEYS}add/", data)

    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert {name: list(messages) for name, messages in errors.items()} == {field: [error]}
    assert ApiKey.objects.count() == 0


def test_hash_and_prefix_cannot_be_edited(admin: Client) -> None:
    key, plain = make_api_key()
    (before,) = _rows()

    admin.post(
        _page(key),
        {
            "name": "new",
            "scopes": ["notify:read"],
            "partners": "",
            "hash": "0" * 64,
            "prefix": "x",
            "revoked_at": "2026-01-01",
        },
    )

    (after,) = _rows()
    assert after == before | {"name": "new", "scopes": ["notify:read"]}
    assert api_keys.find(plain) is not None


def test_an_edit_does_not_undo_a_revocation_meanwhile(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key, plain = make_api_key()
    save = ApiKeyAdmin.save_model

    def revoked_by_somebody_else_meanwhile(*args: Any) -> None:
        api_keys.revoke(key, now=clock.read())
        save(*args)

    monkeypatch.setattr(ApiKeyAdmin, "save_model", revoked_by_somebody_else_meanwhile)
    admin.post(_page(key), {"name": "new", "scopes": ["notify:read"], "partners": ""})

    assert ApiKey.objects.get().name == "new"
    assert api_keys.find(plain) is None


def test_revoke_refuses_the_keys_and_says_how_many(admin: Client) -> None:
    (first, first_plain), (second, second_plain), (_, third_plain) = make_api_key(), make_api_key(), make_api_key()
    api_keys.revoke(second, now=clock.read())
    revoked_at = ApiKey.objects.get(pk=second.pk).revoked_at

    said = _revoke(admin, first, second)

    assert said == ["1 key was revoked.", "1 key was revoked already."]
    assert [api_keys.find(plain) is None for plain in (first_plain, second_plain, third_plain)] == [True, True, False]
    assert ApiKey.objects.get(pk=second.pk).revoked_at == revoked_at
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(first.pk)]


def test_who_may_only_look_sees_no_hash_and_revokes_nothing() -> None:
    client = staff("view_apikey")
    key, _ = make_api_key()
    before = _rows()

    pages = "".join(client.get(address).content.decode() for address in (KEYS, _page(key)))
    _revoke(client, key)
    codes = [client.post(address, {"name": "new"}).status_code for address in (_page(key), f"{KEYS}add/")]

    assert key.hash not in pages
    assert codes == [403, 403]
    assert _rows() == before


def test_no_key_is_deleted(admin: Client) -> None:
    key, _ = make_api_key()

    code = admin.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code
    admin.post(KEYS, {"action": "delete_selected", "_selected_action": [str(key.pk)], "index": "0", "post": "yes"})

    assert (code, ApiKey.objects.count()) == (403, 1)


@pytest.mark.parametrize("lookup", ["hash__startswith=a", "hash=a", "scopes__contains=a", "revoked_at__gt=2020-01-01"])
def test_a_hash_cannot_be_guessed_by_lookups(admin: Client, lookup: str) -> None:
    make_api_key()

    assert admin.get(f"{KEYS}?{lookup}").status_code == 400


def test_the_list_narrows_by_what_is_valid_and_finds_names(admin: Client) -> None:
    (valid, _), (revoked, _) = make_api_key(), make_api_key(partners=("a", "b", "c", "d"))
    api_keys.revoke(revoked, now=clock.read())

    def listed(query: str) -> list[int]:
        return sorted(key.pk for key in admin.get(f"{KEYS}{query}").context["cl"].result_list)

    assert listed("") == [valid.pk, revoked.pk]
    assert listed("?revoked=no") == [valid.pk]
    assert listed("?revoked=yes") == [revoked.pk]
    assert listed("?revoked=%00") == [valid.pk, revoked.pk]
    assert listed(f"?q={valid.name}") == [valid.pk]
