"""The admin's secrets: written, erased, and never shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from notifier import secret_store
from notifier.models import PartnerSecret
from tests.support.factories import make_partner
from tests.support.secrets import set_secrets
from tests.support.staff import staff, superuser

pytestmark = pytest.mark.django_db

SECRETS = "/admin/notifier/partnersecret/"
VALUE = "CANARY-<1>"


@pytest.fixture
def admin() -> Client:
    return superuser()


def test_a_secret_is_written_and_shown_nowhere(admin: Client) -> None:
    partner = make_partner(partner_id="acme")
    data = {"partner": partner.pk, "name": "token", "value": f"{VALUE}\r\nline\r\n", "overlap_hours": "0"}

    answer = admin.post(f"{SECRETS}add/", data, follow=True)

    secret = PartnerSecret.objects.get()
    assert secret_store.backend().values("acme", ["token"]) == {"token": (f"{VALUE}\nline",)}
    pages = [
        answer,
        admin.get(SECRETS),
        admin.get(f"{SECRETS}{secret.pk}/change/"),
        admin.get(f"{SECRETS}{secret.pk}/history/"),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "CANARY" not in page.content.decode()
        assert secret.sealed[10:40] not in page.content.decode()
    assert "CANARY" not in str(LogEntry.objects.values())


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "a.b", "Must be 1 to 64"),
        ("value", "whsec_CANARY", "Looks like a signing secret and is none"),
        ("overlap_hours", "-1", "greater than or equal to 0"),
        ("overlap_hours", "9000", "less than or equal to"),
        ("partner", "0", "Select a valid choice"),
    ],
)
def test_a_form_that_is_refused_forgets_the_value(admin: Client, field: str, value: str, sentence: str) -> None:
    data = {"partner": make_partner().pk, "name": "token", "value": VALUE, "overlap_hours": "0"} | {field: value}

    page = admin.post(f"{SECRETS}add/", data).content.decode()

    assert sentence in page
    assert "CANARY" not in page
    assert PartnerSecret.objects.count() == 0


def test_a_second_value_is_a_second_version_and_none_is_changed(admin: Client) -> None:
    partner = make_partner(partner_id="acme")
    set_secrets(partner, token="first")
    data = {"partner": partner.pk, "name": "token", "value": "second", "overlap_hours": "1"}

    admin.post(f"{SECRETS}add/", data)
    first = PartnerSecret.objects.get(version=1)
    refused = admin.post(f"{SECRETS}{first.pk}/change/", {"name": "other"})

    assert secret_store.backend().values("acme", ["token"]) == {"token": ("second", "first")}
    assert refused.status_code == 403


@pytest.mark.parametrize("query", ["sealed__startswith=gAAAA", "partner__headers__contains=x"])
def test_the_stored_form_cannot_be_asked_about(admin: Client, query: str) -> None:
    set_secrets(make_partner(), token=VALUE)

    assert admin.get(f"{SECRETS}?{query}").status_code in (302, 400)


def test_who_may_only_look_may_not_write() -> None:
    client = staff("view_partnersecret")
    set_secrets(make_partner(), token=VALUE)

    assert client.get(SECRETS).status_code == 200
    assert client.get(f"{SECRETS}add/").status_code == 403
    assert client.post(f"{SECRETS}{PartnerSecret.objects.get().pk}/delete/", {"post": "yes"}).status_code == 403


def test_where_secrets_are_elsewhere_none_is_written_here(admin: Client, settings: Any) -> None:
    settings.NOTIFIER_SECRETS_BACKEND = "files"

    assert admin.get(f"{SECRETS}add/").status_code == 403
