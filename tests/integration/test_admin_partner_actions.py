"""The admin operates partners: actions on the list, buttons on the page; permission, legal state, message, audit entry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifier import clock
from notifier.models import Partner, PartnerState, Status
from notifier.policy.circuit import State
from tests.support.factories import make_partner, make_task
from tests.support.staff import staff, superuser
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

PARTNERS = "/admin/notifier/partner/"
# Action → what its state must be for it, what it leaves there, its messages, its audit entry, whether it wakes.
ACTS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, str, str, bool]] = {
    "pause": ({}, {"paused_at": "set"}, "partner", "paused", "not paused", "Paused.", False),
    "resume": ({"paused_at": "now"}, {"paused_at": None}, "partner", "resumed", "paused", "Resumed.", True),
    "close_circuit": (
        {"circuit_state": "half_open", "circuit_probe_at": "later"},
        {"circuit_state": "closed", "circuit_probe_at": None, "circuit_reason": "closed by an operator"},
        "circuit", "closed", "open or half-open", "Circuit closed.", True,
    ),
    "open_circuit": (
        {"circuit_state": "open", "circuit_probe_at": "later"},
        {"circuit_state": "open", "circuit_probe_at": None, "circuit_reason": "opened by an operator"},
        "circuit", "opened", "not open by hand", "Circuit opened.", False,
    ),
    "release_hold": (
        {"hold_until": "later", "held_at": "now"}, {"hold_until": None, "held_at": None},
        "hold", "released", "not over", "Hold released.", True,
    ),
}  # fmt: skip
# Where it would change nothing.
ILLEGAL: dict[str, dict[str, Any]] = {"pause": {"paused_at": "now"}, "open_circuit": {"circuit_state": "open"}}


@pytest.fixture
def admin() -> Client:
    return superuser()


def _partner(state: dict[str, Any], **fields: Any) -> Partner:
    partner, now = make_partner(**fields), clock.read()
    times = {"now": now, "later": now + timedelta(hours=1)}
    values = {name: times.get(value, value) for name, value in state.items()}
    PartnerState.objects.filter(pk=partner.pk).update(**values or {"paused_at": None})
    return partner


def _page(partner: Partner) -> str:
    return f"{PARTNERS}{partner.pk}/change/"


def _button(partner: Partner, name: str) -> str:
    return f"{PARTNERS}{partner.pk}/operate/{name}/"


def _states() -> list[dict[str, Any]]:
    return [dict(row) for row in PartnerState.objects.order_by("pk").values()]


def _act(client: Client, action: str, partners: Iterable[Partner], query: str = "", **fields: Any) -> list[str]:
    """Post the action with these partners ticked; the messages that it says."""
    data = {"action": action, "_selected_action": [str(partner.pk) for partner in partners], "index": "0"} | fields
    answer = client.post(f"{PARTNERS}{query}", data)
    assert answer.status_code == 302
    return [str(message) for message in get_messages(answer.wsgi_request)]


def _buttons(client: Client, partner: Partner) -> list[str]:
    page = client.get(_page(partner)).content.decode()
    return re.findall(rf'action="{PARTNERS}{partner.pk}/operate/(\w+)/"', page)


@pytest.mark.parametrize("action", ACTS)
def test_an_action_changes_those_it_can_and_says_how_many(admin: Client, woken: list[list[str]], action: str) -> None:
    legal, after, noun, done, condition, entry, wakes = ACTS[action]
    changed = [_partner(legal) for _ in range(2)]
    kept = _partner(ILLEGAL.get(action, {}))
    untouched = _partner(legal)
    before = _states()

    messages = _act(admin, action, [*changed, kept])

    assert messages == [
        f"2 {noun}s were {done}.", f"1 {noun} was not {done}: only those that are {condition} can be.",
    ]  # fmt: skip
    for partner in changed:
        row = PartnerState.objects.filter(pk=partner.pk).values(*after).get()
        assert {name: value if value is None or name != "paused_at" else "set" for name, value in row.items()} == after
    assert [row for row in _states() if row["partner_id"] in (kept.pk, untouched.pk)] == before[2:]
    log = [(int(each.object_id or 0), each.change_message, each.user.username) for each in LogEntry.objects.all()]
    assert sorted(log) == [(partner.pk, entry, "root") for partner in changed]
    assert woken == ([[partner.partner_id] for partner in changed] if wakes else [])


@pytest.mark.parametrize("action", ACTS)
def test_a_button_does_the_same_to_one(admin: Client, woken: list[list[str]], action: str) -> None:
    legal, after, noun, done, _, entry, wakes = ACTS[action]
    partner = _partner(legal)
    assert action in _buttons(admin, partner)

    answer = admin.post(_button(partner, action))

    assert (answer.status_code, answer.headers["Location"]) == (302, _page(partner))
    assert [str(message) for message in get_messages(answer.wsgi_request)] == [f"1 {noun} was {done}."]
    row = PartnerState.objects.filter(pk=partner.pk).values(*after).get()
    assert {name: value if value is None or name != "paused_at" else "set" for name, value in row.items()} == after
    assert LogEntry.objects.get().change_message == entry
    assert woken == ([[partner.partner_id]] if wakes else [])
    assert action not in _buttons(admin, partner)


@pytest.mark.parametrize("action", ACTS)
def test_a_button_of_a_page_that_is_out_of_date_changes_nothing_and_says_so(
    admin: Client, woken: list[list[str]], action: str
) -> None:
    _, _, noun, done, condition, _, _ = ACTS[action]
    partner = _partner(ILLEGAL.get(action, {}))
    before = _states()
    assert action not in _buttons(admin, partner)

    answer = admin.post(_button(partner, action))

    assert [str(message) for message in get_messages(answer.wsgi_request)] == [
        f"1 {noun} was not {done}: only those that are {condition} can be."
    ]
    assert (_states(), LogEntry.objects.count(), woken) == (before, 0, [])


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        case({}, ["pause", "open_circuit"], id="healthy"),
        case({"paused_at": "now"}, ["resume", "open_circuit"], id="paused"),
        case({"circuit_state": "open", "circuit_probe_at": "later"}, ["pause", "close_circuit", "open_circuit"], id="open"),
        case({"circuit_state": "open"}, ["pause", "close_circuit"], id="open-by-hand"),
        case(
            {"circuit_state": "half_open", "circuit_probe_at": "now"}, ["pause", "close_circuit", "open_circuit"], id="half-open",
        ),
        case({"hold_until": "later"}, ["pause", "open_circuit", "release_hold"], id="held"),
        case({"hold_until": "now"}, ["pause", "open_circuit"], id="hold-over"),
    ],
)  # fmt: skip
def test_the_buttons_are_those_that_can_do_something(admin: Client, state: dict[str, Any], buttons: list[str]) -> None:
    assert _buttons(admin, _partner(state)) == buttons


def test_who_may_only_look_gets_no_button_and_no_action(woken: list[list[str]]) -> None:
    client = staff("view_partner")
    partner = _partner({"paused_at": "now"})
    before = _states()

    assert _buttons(client, partner) == []
    assert "_selected_action" not in client.get(PARTNERS).content.decode()
    codes = [client.post(_button(partner, action)).status_code for action in ACTS]
    answers = [client.post(PARTNERS, {"action": action, "_selected_action": [str(partner.pk)]}) for action in ACTS]

    assert codes == [403] * len(ACTS)
    assert {answer.status_code for answer in answers} <= {200, 302, 403}
    assert (_states(), LogEntry.objects.count(), woken) == (before, 0, [])


def test_who_may_operate_partners_needs_no_leave_to_change_them() -> None:
    client = staff("view_partner", "operate_partner")
    partner = _partner({})

    assert _act(client, "pause", [partner]) == ["1 partner was paused."]
    assert client.post(_button(partner, "resume")).status_code == 302
    assert PartnerState.objects.get().paused_at is None


def test_who_is_not_logged_in_is_sent_to_the_login() -> None:
    partner = _partner({})

    answer = Client().post(_button(partner, "pause"))

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
    assert PartnerState.objects.get().paused_at is None


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_button_is_a_post(admin: Client, method: str) -> None:
    partner = _partner({})

    answer = getattr(admin, method)(_button(partner, "pause"))

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert PartnerState.objects.get().paused_at is None


def test_a_button_needs_the_token_of_its_page() -> None:
    partner = _partner({})
    client = superuser()
    client.handler.enforce_csrf_checks = True

    assert client.post(_button(partner, "pause")).status_code == 403
    assert PartnerState.objects.get().paused_at is None


def test_a_button_or_a_partner_that_does_not_exist(admin: Client) -> None:
    partner = _partner({})

    assert admin.post(_button(partner, "delete")).status_code == 404
    assert admin.post(f"{PARTNERS}{partner.pk + 1}/operate/pause/").status_code == 404
    assert admin.post(f"{PARTNERS}x/operate/pause/").status_code == 404


def test_there_is_still_no_action_that_deletes_many(admin: Client) -> None:
    page = admin.get(PARTNERS)
    make_partner()
    page = admin.get(PARTNERS)

    choices = page.context["action_form"].fields["action"].choices
    assert [name for name, _ in choices if name] == list(ACTS)


def test_all_that_match_can_be_acted_on(admin: Client) -> None:
    for _ in range(3):
        _partner({})
    paused = _partner({"paused_at": "now"})

    messages = _act(admin, "pause", [paused], select_across="1")

    assert messages == [
        "3 partners were paused.", "1 partner was not paused: only those that are not paused can be.",
    ]  # fmt: skip


def test_one_that_left_the_filter_meanwhile_is_counted_as_not_done(admin: Client) -> None:
    left, still = _partner({}), _partner({"paused_at": "now"})

    messages = _act(admin, "resume", [left, still], query="?state=paused")

    assert messages == [
        "1 partner was resumed.", "1 partner was not resumed: only those that are paused can be.",
    ]  # fmt: skip


def test_the_page_shows_what_holds_the_partner_back(admin: Client) -> None:
    partner, now = make_partner(), clock.read()
    at = {
        name: now + timedelta(minutes=minutes)
        for name, minutes in (("a", -30), ("b", -20), ("c", 20), ("d", -10), ("e", 5))
    }
    PartnerState.objects.update(
        paused_at=at["a"], held_at=at["b"], hold_until=at["c"], circuit_state=State.OPEN.value, circuit_since=at["d"],
        circuit_probe_at=at["e"], circuit_reason="<b>20 of 20</b> failed",
    )  # fmt: skip

    page = admin.get(_page(partner)).content.decode()

    shown = {name: moment.strftime("%Y-%m-%d %H:%M:%S") for name, moment in at.items()}
    assert f"since {shown['a']}<" in page
    assert f"since {shown['b']}, until {shown['c']}<" in page
    assert f"&lt;b&gt;20 of 20&lt;/b&gt; failed; since {shown['d']}; next probe at {shown['e']}<" in page
    # Shown, not edited.
    assert not re.findall(r'name="(?:paused|hold|circuit|paused_at|circuit_state)"', page)


def test_the_page_of_a_healthy_partner(admin: Client) -> None:
    page = admin.get(_page(make_partner())).content.decode()

    fields = [
        re.sub(r"<[^>]+>|\s+", " ", field).strip()
        for field in re.findall(r'(?s)<div class="readonly[^"]*">(.*?)</div>', page)
    ]
    assert [field for field in fields if field in ("no", "none", "closed")] == ["no", "none", "closed"]


@pytest.mark.parametrize(
    "field", ["failure_ratio", "min_attempts", "window_seconds", "pause_seconds", "max_pause_seconds"]
)
def test_every_field_of_the_circuit_says_what_it_means(admin: Client, field: str) -> None:
    form = admin.get(_page(make_partner())).context["adminform"].form

    assert form.fields[f"circuit_{field}"].help_text.endswith(".")


@pytest.mark.parametrize(
    ("fields", "state", "badges"),
    [
        case({}, {}, ["active"], id="active"),
        case({"enabled": False}, {}, ["disabled"], id="disabled"),
        case({}, {"paused_at": "now"}, ["paused"], id="paused"),
        case({}, {"circuit_state": "open"}, ["circuit: open"], id="open"),
        case({}, {"circuit_state": "half_open"}, ["circuit: half-open"], id="half-open"),
        case({}, {"hold_until": "later"}, ["held"], id="held"),
        case({}, {"hold_until": "now"}, ["active"], id="hold-over"),
        case(
            {"enabled": False}, {"paused_at": "now", "circuit_state": "open", "hold_until": "later"},
            ["disabled", "paused", "circuit: open", "held"],
            id="everything",
        ),
    ],
)  # fmt: skip
def test_the_list_shows_all_that_holds_a_partner_back(
    admin: Client, fields: dict[str, Any], state: dict[str, Any], badges: list[str]
) -> None:
    _partner(state, **fields)

    page = admin.get(PARTNERS).content.decode()

    assert re.findall(r'<span class="ntf-badge [^"]+">([^<]+)</span>', page) == badges


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("disabled", ["off"]), ("paused", ["paused"]), ("circuit", ["half", "open"]), ("held", ["held"]),
        ("", ["fine", "half", "held", "off", "open", "over", "paused"]), ("other", ["fine", "half", "held", "off", "open", "over", "paused"]),
    ],
)  # fmt: skip
def test_the_list_narrows_by_state(admin: Client, value: str, names: list[str]) -> None:
    _partner({}, partner_id="fine")
    _partner({}, partner_id="off", enabled=False)
    _partner({"paused_at": "now"}, partner_id="paused")
    _partner({"circuit_state": "open"}, partner_id="open")
    _partner({"circuit_state": "half_open"}, partner_id="half")
    _partner({"hold_until": "later"}, partner_id="held")
    _partner({"hold_until": "now"}, partner_id="over")

    answer = admin.get(f"{PARTNERS}?state={value}" if value else PARTNERS)

    assert [partner.partner_id for partner in answer.context["cl"].result_list] == names


def test_the_list_costs_the_same_whatever_holds_the_partners_back(admin: Client) -> None:
    costs = []
    for state in ({}, {"paused_at": "now"}, {"circuit_state": "open", "hold_until": "later"}):
        _partner(state)
        with CaptureQueriesContext(connection) as queries:
            admin.get(PARTNERS)
        costs.append(len(queries))

    assert costs == [costs[0]] * 3


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.PENDING, ["paused", "Its partner is paused: nothing is sent until it is resumed."]),
        (Status.RUNNING, ["in_flight", "A worker sends it."]),
        (Status.DEAD, ["finished", "It has ended: dead (exhausted)."]),
    ],
)
def test_a_tasks_page_says_why_it_stands_where_it_stands(admin: Client, status: Status, shown: list[str]) -> None:
    task = make_task(_partner({"paused_at": "now"}), status=status)

    page = admin.get(f"/admin/notifier/notificationtask/{task.pk}/change/").content.decode()

    for text in shown:
        assert text in page
    assert ("next attempts</summary>" in page) == (status != Status.DEAD)
    assert page.count("<li>") >= (9 if status != Status.DEAD else 0)
