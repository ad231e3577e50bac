"""POST /v1/partners/{partner_id}/…: pause, resume, circuit, hold; what they change, whom they wake, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from notifier import clock, lifecycle, operating, partner_flow
from notifier.api.renderers import timestamp
from notifier.audit import by_command
from notifier.models import Partner, PartnerState, Status
from notifier.policy import flow
from notifier.policy.circuit import State
from notifier.transactions import atomically
from notifier.wake import publisher
from tests.support.api import anyone, caller, document, problem
from tests.support.factories import make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

PAUSE, RESUME, OPEN, CLOSE, RELEASE = ACTIONS = (
    "/pause", "/resume", "/circuit/open", "/circuit/close", "/hold/release",
)  # fmt: skip
# Where each would change something.
FIELDS: dict[str, dict[str, Any]] = {
    PAUSE: {"circuit_reason": "x"},
    RESUME: {"paused_at": "now"},
    OPEN: {"circuit_state": State.HALF_OPEN.value, "circuit_probe_at": "later"},
    CLOSE: {"circuit_state": State.OPEN.value, "circuit_probe_at": "later", "circuit_failures": 20.0},
    RELEASE: {"hold_until": "later", "held_at": "now"},
}


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[dict[str, Any]]]]:
    """What the broker's side is asked for, in place of the broker, and the state rows at that moment."""
    calls: list[tuple[list[str], list[dict[str, Any]]]] = []
    monkeypatch.setattr(publisher, "wake", lambda partner_ids: calls.append((sorted(partner_ids), _states())))
    return calls


def _states() -> list[dict[str, Any]]:
    return [dict(row) for row in PartnerState.objects.order_by("pk").values()]


def _partner(action: str = "", **fields: Any) -> Partner:
    """One for which the action would change something."""
    partner, now = make_partner(**fields), clock.read()
    times = {"now": now, "later": now + timedelta(hours=1)}
    values = {name: times.get(str(value), value) for name, value in FIELDS.get(action, {}).items()}
    PartnerState.objects.filter(pk=partner.pk).update(**values or {"paused_at": None})
    return partner


def _path(partner: Partner, action: str = "") -> str:
    return f"/v1/partners/{partner.partner_id}{action}"


def _claimable(partner: Partner) -> int:
    now = clock.read()
    state = PartnerState.objects.get(pk=partner.pk)
    permit = flow.permit(state.flow(enabled=True), partner.limits, in_flight=0, slots=1, now=now)
    return len(atomically(lambda: lifecycle.claim({partner.pk: permit.count}, now=now, lease_for=timedelta(minutes=1))))


def test_pause_lets_everything_wait_and_accepts_go_on(woken: list[Any]) -> None:
    partner, before = _partner(), clock.read()
    make_task(partner)
    operator = caller()

    shown = document(operator.post(_path(partner, PAUSE)))

    state = PartnerState.objects.get(pk=partner.pk)
    assert state.paused_at is not None
    assert before <= state.paused_at <= clock.read()
    assert shown["state"]["paused"] is True
    assert shown["state"]["paused_since"] == timestamp(state.paused_at)
    assert shown["backlog"]["waiting"] == 1
    assert shown == document(operator.get(_path(partner))) | {"oldest_waiting_seconds": shown["oldest_waiting_seconds"]}
    assert _claimable(partner) == 0
    assert woken == []
    document(operator.notify({"partner_id": partner.partner_id, "target_url": "https://hooks.example.com/in"}), 202)


def test_pausing_what_is_paused_changes_nothing_and_is_as_good(woken: list[Any]) -> None:
    partner = _partner(RESUME)
    before = _states()

    shown = document(caller().post(_path(partner, PAUSE)))

    assert shown["state"]["paused"] is True
    assert _states() == before
    assert woken == []


def test_resume_lets_it_go_and_wakes_the_partner_after_the_commit(woken: list[Any]) -> None:
    partner = _partner(RESUME)
    make_task(partner)

    shown = document(caller().post(_path(partner, RESUME)))

    assert (shown["state"]["paused"], shown["state"]["paused_since"]) == (False, None)
    ((partner_ids, states),) = woken
    assert partner_ids == [partner.partner_id]
    assert [state["paused_at"] for state in states] == [None]
    assert _claimable(partner) == 1


@pytest.mark.django_db(transaction=True)
def test_the_wake_comes_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    partner = _partner(RESUME)
    seen: list[tuple[list[str], bool]] = []
    monkeypatch.setattr(publisher, "wake", lambda ids: seen.append((list(ids), connection.in_atomic_block)))

    document(caller().post(_path(partner, RESUME)))

    assert seen == [([partner.partner_id], False)]


def test_a_circuit_is_opened_by_hand(woken: list[Any]) -> None:
    partner, before = _partner(OPEN), clock.read()
    make_task(partner)

    shown = document(caller().post(_path(partner, OPEN)))

    circuit = shown["state"]["circuit"]
    assert (circuit["state"], circuit["reason"], circuit["next_probe_at"]) == ("open", "opened by an operator", None)
    assert circuit["since"] >= timestamp(before)
    assert _claimable(partner) == 0
    assert woken == []


@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN, State.OPEN])
def test_only_what_was_opened_by_hand_cannot_be_opened_by_hand_again(state: State) -> None:
    partner, operator = _partner(), caller()
    PartnerState.objects.update(circuit_state=state.value, circuit_probe_at=clock.read())

    document(operator.post(_path(partner, OPEN)))
    before = _states()

    problem(operator.post(_path(partner, OPEN)), 409, "circuit_already_open")
    assert _states() == before


@pytest.mark.parametrize("probe_at", [None, "later"], ids=["by-hand", "by-itself"])
@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_a_circuit_is_closed_with_fresh_counts(woken: list[Any], state: State, probe_at: str | None) -> None:
    partner = _partner(CLOSE)
    PartnerState.objects.update(
        circuit_state=state.value, circuit_probe_at=clock.read() if probe_at else None, circuit_openings=7
    )
    make_task(partner)

    shown = document(caller().post(_path(partner, CLOSE)))

    circuit = shown["state"]["circuit"]
    assert (circuit["state"], circuit["reason"], circuit["next_probe_at"]) == ("closed", "closed by an operator", None)
    row = PartnerState.objects.get(pk=partner.pk)
    assert (row.circuit_failures, row.circuit_attempts, row.circuit_openings) == (0, 0, 0)
    assert [ids for ids, _ in woken] == [[partner.partner_id]]
    assert _claimable(partner) == 1


def test_a_hold_is_released(woken: list[Any]) -> None:
    partner = _partner(RELEASE)
    make_task(partner)
    assert _claimable(partner) == 0

    shown = document(caller().post(_path(partner, RELEASE)))

    assert shown["state"]["hold"] is None
    assert [ids for ids, _ in woken] == [[partner.partner_id]]
    assert _claimable(partner) == 1


@pytest.mark.parametrize(
    ("action", "code"),
    [
        case(RESUME, "not_paused", id="resume"),
        case(CLOSE, "circuit_already_closed", id="close"),
        case(RELEASE, "not_held", id="release"),
    ],
)
def test_what_does_not_stand_so_is_refused_and_nothing_changes(action: str, code: str, woken: list[Any]) -> None:
    partner = _partner()
    before = _states()

    shown = problem(caller().post(_path(partner, action)), 409, code)

    assert partner.partner_id in shown["message"]
    assert shown["message"].endswith("; nothing was changed.")
    assert (_states(), woken) == (before, [])


def test_a_hold_that_is_over_cannot_be_released() -> None:
    partner = _partner()
    PartnerState.objects.update(hold_until=clock.read(), held_at=clock.read())
    before = _states()

    problem(caller().post(_path(partner, RELEASE)), 409, "not_held")

    assert _states() == before


def test_a_second_resume_is_told_so() -> None:
    partner, operator = _partner(RESUME), caller()

    document(operator.post(_path(partner, RESUME)))

    problem(operator.post(_path(partner, RESUME)), 409, "not_paused")


def test_a_disabled_partner_can_be_paused_and_resumed_and_stays_disabled() -> None:
    partner, operator = _partner(enabled=False), caller()

    paused = document(operator.post(_path(partner, PAUSE)))
    resumed = document(operator.post(_path(partner, RESUME)))

    assert (paused["state"]["paused"], resumed["state"]["paused"]) == (True, False)
    assert resumed["configuration"]["enabled"] is False


def test_only_the_partner_that_is_named_is_changed() -> None:
    others = [_partner(action) for action in ACTIONS]
    before = _states()
    partner = _partner(RESUME)
    operator = caller()

    for action in (RESUME, PAUSE, OPEN, CLOSE):
        document(operator.post(_path(partner, action)))

    assert _states()[: len(others)] == before


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("body", [None, {}], ids=["no-body", "empty-object"])
def test_no_body_is_needed(action: str, body: Any) -> None:
    document(caller().post(_path(_partner(action), action), body))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        case(b'{"reason": "x"}', "unknown_field", id="unknown-field"),
        case(b'{"a": 1, "a": 2}', "duplicate_name", id="twice"),
        case(b"{", "invalid_json", id="broken"),
        case(b"[]", "invalid_request", id="list"),
        case(b"null", "invalid_request", id="null"),
        case(b"\xff", "invalid_json", id="not-utf-8"),
    ],
)
def test_another_body_is_refused_and_nothing_changes(action: str, raw: bytes, code: str, woken: list[Any]) -> None:
    partner = _partner(action)
    before = _states()

    problem(caller().post(_path(partner, action), raw=raw), 400, code)

    assert (_states(), woken) == (before, [])


@pytest.mark.parametrize("action", ACTIONS)
def test_a_body_of_another_type_is_refused(action: str) -> None:
    partner = _partner(action)
    before = _states()

    answer = caller().post(_path(partner, action), raw=b"a=b", content_type="application/x-www-form-urlencoded")

    problem(answer, 415, "unsupported_media_type")
    assert _states() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_only_operators_may(action: str, woken: list[Any]) -> None:
    partner = _partner(action)
    before = _states()

    problem(anyone().post(_path(partner, action)), 401, "not_authenticated")
    problem(caller(scopes=("notify:read", "notify:write")).post(_path(partner, action)), 403, "missing_scope")
    problem(caller(partners=(make_partner().partner_id,)).post(_path(partner, action)), 403, "partner_not_permitted")

    assert (_states()[:1], woken) == (before, [])
    document(caller(scopes=("notify:operate",), partners=(partner.partner_id,)).post(_path(partner, action)))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("partner_id", ["nobody", "%00", "x" * 500])
def test_a_partner_that_does_not_exist(action: str, partner_id: str) -> None:
    problem(caller().post(f"/v1/partners/{partner_id}{action}"), 404, "partner_not_found")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_another_method_is_refused_and_nothing_changes(action: str, method: str) -> None:
    partner = _partner(action)
    before = _states()

    answer = caller().send(method, _path(partner, action))

    assert (answer.status_code, answer["Allow"]) == (405, "POST, OPTIONS")
    assert _states() == before


@pytest.mark.parametrize("path", ["/circuit", "/hold", "/circuit/half-open", "/delete", "/pause/now", "/circuit/open/"])
def test_nothing_else_is_there(path: str) -> None:
    problem(caller().post(_path(_partner(), path)), 404, "not_found")


def test_a_pause_stops_the_next_claim_and_leaves_what_is_in_flight() -> None:
    """What the operator was told holds: the claim reads the row, never a copy of it."""
    partner = _partner()
    for _ in range(2):
        make_task(partner)

    assert _claimable(partner) == 1
    assert operating.operate(operating.PAUSE, partner, by=by_command())

    assert _claimable(partner) == 0
    assert partner.tasks.filter(status=Status.RUNNING).count() == 1
    assert not partner_flow.pause(partner.pk, now=clock.read())
