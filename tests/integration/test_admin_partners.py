"""The admin's partners: edited as people write, by the rules of notifier.partners; no secret shown, none lost."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import ProtectedError
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifier import clock, sealing
from notifier.admin.partners import PartnerAdmin
from notifier.models import NotificationTask, Partner, PartnerState
from tests.support.factories import make_partner, make_task
from tests.support.staff import staff, superuser

pytestmark = pytest.mark.django_db

PARTNERS = "/admin/notifier/partner/"
# What the form holds for a new partner, as a browser would send it.
DEFAULTS = {
    "name": "", "enabled": "on", "allow_hosts": "", "allow_private_cidrs": "", "headers": "",
    "connect_timeout_seconds": "3.0", "timeout_seconds": "5.0", "max_attempts": "10", "max_age_hours": "72.0",
    "retry_base_seconds": "30.0", "retry_factor": "2.0", "retry_max_seconds": "3600.0", "retry_jitter": "full",
    "retry_schedule": "", "success_condition": "status >= 200 && status < 400", "permanent_statuses": "400, 410",
    "rate_per_second": "", "burst": "", "max_concurrency": "", "circuit_failure_ratio": "0.5",
    "circuit_min_attempts": "20", "circuit_window_seconds": "60", "circuit_pause_seconds": "5",
    "circuit_max_pause_seconds": "300", "_save": "Save",
}  # fmt: skip


@pytest.fixture
def admin() -> Client:
    return superuser()


def _page(partner: Partner) -> str:
    return f"{PARTNERS}{partner.pk}/change/"


def _shown(client: Client, partner: Partner) -> dict[str, str]:
    """The form's fields as a browser would send them back untouched."""
    form = client.get(_page(partner)).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    sent = {name: form.fields[name].prepare_value(value) for name, value in values.items()}
    boxes = {name: "on" for name, value in sent.items() if value is True}
    return {
        name: str(value) for name, value in sent.items() if not isinstance(value, bool) and value is not None
    } | boxes


def _errors(client: Client, address: str, data: dict[str, str]) -> dict[str, list[str]]:
    answer = client.post(address, data)
    assert answer.status_code == 200
    return {field: list(messages) for field, messages in answer.context["adminform"].form.errors.items()}


def _rows() -> list[dict[str, Any]]:
    return [dict(row) for row in Partner.objects.order_by("pk").values()]


def test_a_partner_is_added_as_it_was_written(admin: Client) -> None:
    answer = admin.post(
        f"{PARTNERS}add/",
        DEFAULTS
        | {
            "partner_id": "acme",
            "name": "Acme \U0001f600",
            "allow_hosts": " api.acme.example \r\n\r\n*.acme.example:8443\r\n",
            "allow_private_cidrs": "10.1.0.0/16",
            "headers": "Authorization: Bearer a:b\r\nX-Team: blue",
            "retry_schedule": "1, 2.5 30",
            "rate_per_second": "10",
            "burst": "20",
            "circuit_failure_ratio": "",
            "circuit_pause_seconds": "0.5",
        },
    )

    assert answer.status_code == 302
    partner = Partner.objects.get(partner_id="acme")
    assert partner.name == "Acme \U0001f600"
    assert partner.allow_hosts == ["api.acme.example", "*.acme.example:8443"]
    assert partner.allow_private_cidrs == ["10.1.0.0/16"]
    assert sealing.open_headers(partner.headers)[0] == {"Authorization": "Bearer a:b", "X-Team": "blue"}
    assert partner.retry_schedule == [1.0, 2.5, 30.0]
    assert partner.permanent_statuses == [400, 410]
    assert (partner.rate_per_second, partner.burst, partner.max_concurrency) == (10.0, 20, None)
    assert (partner.circuit_failure_ratio, partner.circuit_min_attempts, partner.circuit_pause_seconds) == (
        None,
        20,
        0.5,
    )
    assert PartnerState.objects.filter(partner=partner).count() == 1


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("partner_id", "a b", "Must be 1 to 64 of the characters A-Z a-z 0-9 . _ -."),
        ("partner_id", "taken", "Partner with this Partner id already exists."),
        (
            "allow_hosts",
            "ftp://x",
            "'ftp://x' is not a host, *.suffix or *, with an optional http:// or https://, :port and /path.",
        ),
        ("allow_private_cidrs", "10.0.0.0/99", "'10.0.0.0/99' is not an address range like 10.1.0.0/16: "),
        ("headers", "nonsense TOP-SECRET", "Write one header a line, as Name: value."),
        ("headers", "A: 1\nA: 2", "A is given twice."),
        ("headers", "A: 1\na: 2", "A is given twice."),
        ("headers", "Host: x", "Host is set by the notifier itself or belongs to the connection."),
        ("headers", "X-A: \U0001f600", "The value of X-A has a control character or one outside Latin-1."),
        ("timeout_seconds", "0", "Must be between 0.01 and 30."),
        ("timeout_seconds", "nan", "Enter a number."),
        ("timeout_seconds", "", "This field is required."),
        ("max_attempts", "101", "Must be between 1 and 100."),
        ("retry_factor", "0.5", "Must be between 1 and 100."),
        ("retry_jitter", "some", "Select a valid choice. some is not one of the available choices."),
        ("retry_schedule", "1, x", "Write numbers with commas between them."),
        ("retry_schedule", "1, nan", "Must hold seconds between 0 and "),
        ("retry_schedule", "-1", "Must hold seconds between 0 and "),
        ("permanent_statuses", "400, 4.5", "Write whole numbers with commas between them."),
        ("permanent_statuses", "99", "Must be a list of status codes between 100 and 599."),
        ("success_condition", "status ==", "Cannot be used: it is not valid CEL: "),
        ("success_condition", "body == 1", "Cannot be used: it names 'body'; "),
        ("burst", "5", "Needs rate_per_second beside it."),
        ("circuit_failure_ratio", "0", "Must be between 0.01 and 1."),
        ("circuit_min_attempts", "1.5", "Enter a whole number."),
        ("circuit_window_seconds", "", "This field is required."),
        ("name", "x" * 201, "Ensure this value has at most 200 characters (it has 201)."),
    ],
)
def test_a_bad_value_is_refused_at_its_field_and_nothing_is_saved(
    admin: Client, field: str, value: str, error: str
) -> None:
    make_partner(partner_id="taken")
    before = _rows()

    errors = _errors(admin, f"{PARTNERS}add/", DEFAULTS | {"partner_id": "acme"} | {field: value})

    assert list(errors) == [field]
    assert len(errors[field]) == 1
    # CEL and ipaddress end the sentence in their own words.
    assert errors[field][0].lower().startswith(error.lower())
    assert "TOP-SECRET" not in errors[field][0]
    assert _rows() == before


def test_all_bad_fields_are_named_at_once(admin: Client) -> None:
    bad = {"partner_id": "", "timeout_seconds": "x", "allow_hosts": "ftp://x", "retry_schedule": "y"}

    errors = _errors(admin, f"{PARTNERS}add/", DEFAULTS | bad)

    assert {field: len(sentences) for field, sentences in errors.items()} == dict.fromkeys(bad, 1)
    assert Partner.objects.count() == 0


def test_a_form_sent_back_untouched_changes_nothing(admin: Client) -> None:
    partner = make_partner(
        headers={"Authorization": "Bearer TOP-SECRET", "X-Team": "blue"},
        allow_hosts=["a.example", "*.b.example:8443"],
        retry_schedule=[1.0, 0.123456789, 1234567.5],
        rate_per_second=0.5,
    )
    before = _rows()

    answer = admin.post(_page(partner), _shown(admin, partner) | {"_save": "Save"})

    assert answer.status_code == 302
    assert _rows() == before


def test_only_what_was_changed_is_written(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = make_partner()
    data = _shown(admin, partner) | {"name": "New name"}
    save = PartnerAdmin.save_model

    def disabled_by_somebody_else_meanwhile(*args: Any) -> None:
        Partner.objects.filter(pk=partner.pk).update(enabled=False)
        save(*args)

    monkeypatch.setattr(PartnerAdmin, "save_model", disabled_by_somebody_else_meanwhile)
    admin.post(_page(partner), data)

    written = Partner.objects.get(pk=partner.pk)
    assert (written.name, written.enabled) == ("New name", False)
    assert written.updated_at > partner.updated_at


def test_the_id_cannot_be_changed(admin: Client) -> None:
    partner = make_partner(partner_id="acme")

    admin.post(_page(partner), _shown(admin, partner) | {"partner_id": "other", "name": "New name"})

    partner.refresh_from_db()
    assert (partner.partner_id, partner.name) == ("acme", "New name")


def test_a_sensitive_header_is_masked_and_kept(admin: Client) -> None:
    partner = make_partner(headers={"Authorization": "Bearer TOP-SECRET", "X-Team": "blue"})
    page = admin.get(_page(partner)).content.decode()
    data = _shown(admin, partner)

    admin.post(_page(partner), data | {"headers": data["headers"].replace("blue", "red")})

    partner.refresh_from_db()
    assert "TOP-SECRET" not in page
    assert data["headers"] == "Authorization: ***\nX-Team: blue"
    assert sealing.open_headers(partner.headers)[0] == {"Authorization": "Bearer TOP-SECRET", "X-Team": "red"}
    assert "TOP-SECRET" not in str(partner.headers)


def test_a_sensitive_header_is_replaced_by_what_is_written(admin: Client) -> None:
    partner = make_partner(headers={"Authorization": "Bearer old"})

    admin.post(_page(partner), _shown(admin, partner) | {"headers": "Authorization: Bearer new"})

    partner.refresh_from_db()
    assert sealing.open_headers(partner.headers)[0] == {"Authorization": "Bearer new"}
    assert "Bearer" not in LogEntry.objects.get().change_message


def test_three_stars_are_the_value_where_none_is_stored(admin: Client) -> None:
    partner = make_partner(headers={"X-Team": "blue"})

    admin.post(_page(partner), _shown(admin, partner) | {"headers": "X-Team: ***"})

    partner.refresh_from_db()
    assert partner.headers == {"X-Team": "***"}


def test_who_may_only_look_sees_no_secret_and_saves_nothing() -> None:
    client = staff("view_partner")
    partner = make_partner(headers={"Authorization": "Bearer TOP-SECRET"})
    before = _rows()

    page = client.get(_page(partner)).content.decode()
    codes = [
        client.post(address, DEFAULTS).status_code
        for address in (_page(partner), f"{PARTNERS}add/", f"{PARTNERS}{partner.pk}/delete/")
    ]

    assert "TOP-SECRET" not in page
    assert "Authorization: ***" in page
    assert codes == [403, 403, 403]
    assert _rows() == before


@pytest.mark.parametrize("data", [{}, {"post": "yes"}])
def test_a_partner_with_tasks_is_not_deleted_and_says_why(admin: Client, data: dict[str, str]) -> None:
    task = make_task(make_partner(partner_id="acme"))

    answer = (admin.post if data else admin.get)(f"{PARTNERS}{task.partner_id}/delete/", data)

    assert (answer.status_code, answer.headers["Location"]) == (302, _page(task.partner))
    assert [str(message) for message in get_messages(answer.wsgi_request)] == [
        "Partner acme has tasks and cannot be deleted. To stop it, disable it."
    ]
    assert (Partner.objects.count(), NotificationTask.objects.count()) == (1, 1)


def test_a_task_accepted_during_the_deletion_saves_its_partner(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = make_partner()

    def refused(*args: Any) -> None:
        raise ProtectedError("has tasks", set())

    monkeypatch.setattr(PartnerAdmin, "delete_model", refused)
    answer = admin.post(f"{PARTNERS}{partner.pk}/delete/", {"post": "yes"})

    assert (answer.status_code, answer.headers["Location"]) == (302, _page(partner))
    assert (Partner.objects.count(), LogEntry.objects.count()) == (1, 0)


def test_the_look_for_tasks_does_not_collect_them(admin: Client) -> None:
    partner = make_partner()
    for _ in range(3):
        make_task(partner)

    with CaptureQueriesContext(connection) as queries:
        admin.get(f"{PARTNERS}{partner.pk}/delete/")

    asked = [query["sql"] for query in queries if "notifier_notificationtask" in query["sql"]]
    assert [sql.endswith("LIMIT 1") for sql in asked] == [True]


def test_a_partner_without_tasks_is_deleted_with_its_state(admin: Client) -> None:
    partner = make_partner()

    page = admin.get(f"{PARTNERS}{partner.pk}/delete/")
    answer = admin.post(f"{PARTNERS}{partner.pk}/delete/", {"post": "yes"})

    assert (page.status_code, answer.status_code) == (200, 302)
    assert (Partner.objects.count(), PartnerState.objects.count()) == (0, 0)


def test_there_is_no_action_that_deletes_many(admin: Client) -> None:
    partner = make_partner()

    admin.post(
        PARTNERS, {"action": "delete_selected", "_selected_action": [str(partner.pk)], "index": "0", "post": "yes"}
    )

    assert Partner.objects.count() == 1


def test_the_list_shows_the_state_and_leads_to_the_tasks(admin: Client) -> None:
    make_partner(partner_id="a.b", enabled=False)
    hosts = [f"h{number}.example" for number in range(5)]
    make_partner(partner_id="c", allow_hosts=hosts, state={"paused_at": clock.read()})

    page = admin.get(PARTNERS).content.decode()

    for shown in ("disabled", "paused", "h2.example", "and 2 more", '/admin/notifier/notificationtask/?partner=a.b"'):
        assert shown in page
    assert "h3.example" not in page


def test_the_list_costs_the_same_for_any_number_of_partners(admin: Client) -> None:
    costs = []
    for _ in range(3):
        make_partner()
        with CaptureQueriesContext(connection) as queries:
            admin.get(PARTNERS)
        costs.append(len(queries))

    # Session, user, two counts of partners, rows; and of all of them the time, three of the backlog, and the last hour.
    assert costs == [10, 10, 10]
