"""Viewer, operator, administrator: what each of them may see and do, on every page, button and action of the admin."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client

from notifier.models import ApiKey, AuditEntry, NotificationTask, Partner, PartnerState, Status
from tests.integration.test_audit import PARTNER_FORM
from tests.support.factories import make_api_key, make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

VIEWER, OPERATOR, ADMINISTRATOR = ROLES = ("viewer", "operator", "administrator")
ADMIN = "/admin/notifier"


@pytest.fixture(autouse=True)
def _groups() -> None:
    """As the migration makes them; a transactional test that ran before has emptied every table."""
    import_module("notifier.migrations.0004_access").make_roles(apps, None)
    import_module("notifier.migrations.0008_secret_roles").add(apps, None)
    import_module("notifier.migrations.0009_operations").let_roles_see(apps, None)


def _person(role: str | None) -> Client:
    user = User.objects.create(username=role or "nobody", is_staff=True)
    if role is not None:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def _allowed(role: str | None, least: str | None) -> bool:
    return role is not None and least is not None and ROLES.index(role) >= ROLES.index(least)


def _standing() -> list[Any]:
    """All that an act could change."""
    tables = (Partner, PartnerState, NotificationTask, ApiKey)
    return [[dict(row) for row in table.objects.order_by("pk").values()] for table in tables]


def test_the_migration_made_the_groups_with_these_permissions() -> None:
    shown = {group.name: sorted(group.permissions.values_list("codename", flat=True)) for group in Group.objects.all()}

    assert set(shown) == set(ROLES)
    assert shown[VIEWER] == ["view_apikey", "view_bulkrequeue", "view_notificationtask", "view_partner"]
    assert set(shown[OPERATOR]) - set(shown[VIEWER]) == {"change_notificationtask", "operate_partner"}
    assert set(shown[ADMINISTRATOR]) - set(shown[OPERATOR]) == {
        "add_partner", "change_partner", "delete_partner", "add_apikey", "change_apikey", "view_auditentry",
        "view_partnersecret", "add_partnersecret", "delete_partnersecret",
    }  # fmt: skip


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize(
    ("page", "least"),
    [
        case("notificationtask/", VIEWER, id="tasks"),
        case("notificationtask/{task}/change/", VIEWER, id="task"),
        case("notificationtask/{task}/history/", VIEWER, id="task-history"),
        case("notificationtask/add/", None, id="task-add"),
        case("notificationtask/{task}/delete/", None, id="task-delete"),
        case("partner/", VIEWER, id="partners"),
        case("partner/{partner}/change/", VIEWER, id="partner"),
        case("partner/{partner}/history/", VIEWER, id="partner-history"),
        case("partner/add/", ADMINISTRATOR, id="partner-add"),
        case("apikey/", VIEWER, id="keys"),
        case("apikey/{key}/change/", VIEWER, id="key"),
        case("apikey/add/", ADMINISTRATOR, id="key-add"),
        case("apikey/{key}/delete/", None, id="key-delete"),
        case("auditentry/", ADMINISTRATOR, id="trail"),
        case("auditentry/{entry}/change/", ADMINISTRATOR, id="entry"),
        case("auditentry/add/", None, id="entry-add"),
        case("auditentry/{entry}/delete/", None, id="entry-delete"),
    ],
)
def test_each_page_is_for_its_role(role: str | None, page: str, least: str | None) -> None:
    task, (key, _) = make_task(), make_api_key()
    address = page.format(task=task.pk, partner=task.partner_id, key=key.pk, entry=AuditEntry.objects.get().pk)

    answer = _person(role).get(f"{ADMIN}/{address}")

    assert answer.status_code == (200 if _allowed(role, least) else 403)


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize(
    ("address", "data", "least"),
    [
        case("notificationtask/", {"action": "cancel", "_selected_action": "{task}"}, OPERATOR, id="cancel"),
        case("notificationtask/", {"action": "requeue", "_selected_action": "{dead}"}, OPERATOR, id="requeue"),
        case("partner/", {"action": "pause", "_selected_action": "{partner}"}, OPERATOR, id="pause"),
        case("partner/", {"action": "open_circuit", "_selected_action": "{partner}"}, OPERATOR, id="open"),
        case("partner/{partner}/operate/pause/", {}, OPERATOR, id="pause-button"),
        case("partner/{partner}/operate/open_circuit/", {}, OPERATOR, id="open-button"),
        case("partner/{paused}/operate/resume/", {}, OPERATOR, id="resume-button"),
        case("partner/{paused}/operate/close_circuit/", {}, OPERATOR, id="close-button"),
        case("partner/{paused}/operate/release_hold/", {}, OPERATOR, id="release-button"),
        case("partner/{partner}/change/", PARTNER_FORM, ADMINISTRATOR, id="partner-change"),
        case("partner/add/", PARTNER_FORM, ADMINISTRATOR, id="partner-add"),
        case("partner/{bare}/delete/", {"post": "yes"}, ADMINISTRATOR, id="partner-delete"),
        case("apikey/add/", {"name": "a", "scopes": "notify:read"}, ADMINISTRATOR, id="key-add"),
        case("apikey/{key}/change/", {"name": "a", "scopes": "notify:read"}, ADMINISTRATOR, id="key-change"),
        case("apikey/", {"action": "revoke", "_selected_action": "{key}"}, ADMINISTRATOR, id="key-revoke"),
        case("apikey/{key}/delete/", {"post": "yes"}, None, id="key-delete"),
        case("apikey/", {"action": "delete_selected", "_selected_action": "{key}", "post": "yes"}, None, id="keys-delete"),
        case("partner/", {"action": "delete_selected", "_selected_action": "{bare}", "post": "yes"}, None, id="partners-delete"),
        case("notificationtask/{task}/delete/", {"post": "yes"}, None, id="task-delete"),
        case("notificationtask/{task}/change/", {"status": "succeeded"}, None, id="task-change"),
    ],
)  # fmt: skip
def test_each_act_is_for_its_role(
    role: str | None, address: str, data: dict[str, str], least: str | None, woken: list[list[str]]
) -> None:
    task, dead, (key, _), bare = make_task(), make_task(status=Status.DEAD), make_api_key(), make_partner()
    paused = make_partner(state={"paused_at": task.created_at, "circuit_state": "open"})
    PartnerState.objects.filter(pk=paused.pk).update(
        hold_until=task.created_at.replace(year=2999), held_at=task.created_at
    )
    names = {
        "task": task.pk, "dead": dead.pk, "partner": task.partner_id, "key": key.pk, "bare": bare.pk, "paused": paused.pk,
    }  # fmt: skip
    filled = {name: value.format(**names) for name, value in data.items()}
    before, entries = _standing(), AuditEntry.objects.count()

    answer = _person(role).post(f"{ADMIN}/{address.format(**names)}", filled)

    if _allowed(role, least):
        assert answer.status_code == 302
        assert _standing() != before
        assert AuditEntry.objects.count() == entries + 1
    else:
        assert answer.status_code in (200, 302, 403)
        assert (_standing(), AuditEntry.objects.count()) == (before, entries)


@pytest.mark.parametrize("role", ROLES)
def test_only_what_one_may_do_is_offered(role: str) -> None:
    task, (key, _) = make_task(), make_api_key()
    client = _person(role)

    def actions(model: str) -> set[str]:
        form = client.get(f"{ADMIN}/{model}/").context["action_form"]
        return set() if form is None else {name for name, _ in form.fields["action"].choices if name}

    operates, administers = _allowed(role, OPERATOR), _allowed(role, ADMINISTRATOR)
    assert actions("notificationtask") == ({"requeue", "cancel"} if operates else set())
    assert ("pause" in actions("partner")) == operates
    assert actions("apikey") == ({"revoke"} if administers else set())
    page = client.get(f"{ADMIN}/partner/{task.partner_id}/change/").content.decode()
    assert ("/operate/pause/" in page, 'name="_save"' in page) == (operates, administers)
    index = client.get("/admin/").content.decode()
    assert ("/admin/notifier/auditentry/" in index) == administers
    assert key.hash not in client.get(f"{ADMIN}/apikey/{key.pk}/change/").content.decode()


def test_who_may_only_look_gets_no_sensitive_header_of_a_partner() -> None:
    partner = make_partner(headers={"Authorization": "Bearer canary-secret"})

    for role in ROLES:
        page = _person(role).get(f"{ADMIN}/partner/{partner.pk}/change/").content.decode()
        assert "canary-secret" not in page
