from __future__ import annotations

import pytest

from notifier.policy.classify import DEFAULT_PERMANENT_STATUSES, SUCCEEDED, Judgement, Outcome, classify
from notifier.policy.condition import DEFAULT_CONDITION
from notifier.policy.exchange import Exchange, FailureKind
from tests.unit.cases import case

PERMANENT = {400, 405, 406, 410, 411, 413, 414, 415, 422, 431, 501, 505}
STATUSES = range(100, 600)


def _judge(exchange: Exchange, condition: str = DEFAULT_CONDITION) -> Judgement:
    return classify(exchange, success_condition=condition, permanent_statuses=DEFAULT_PERMANENT_STATUSES)


def _statuses(outcome: Outcome, condition: str = DEFAULT_CONDITION) -> set[int]:
    return {status for status in STATUSES if _judge(Exchange(status=status), condition).outcome is outcome}


def test_every_status_has_one_outcome_by_default() -> None:
    assert _statuses(Outcome.SUCCEEDED) == set(range(200, 400))
    assert _statuses(Outcome.PERMANENT) == PERMANENT
    assert _statuses(Outcome.TEMPORARY) == set(range(100, 200)) | (set(range(400, 600)) - PERMANENT)
    assert _statuses(Outcome.REFUSED) == set()


def test_where_the_condition_is_never_met_no_status_succeeds() -> None:
    assert _statuses(Outcome.SUCCEEDED, "false") == set()
    assert _statuses(Outcome.PERMANENT, "false") == PERMANENT
    assert _statuses(Outcome.TEMPORARY, "false") == set(STATUSES) - PERMANENT


def test_where_the_condition_is_always_met_every_status_succeeds() -> None:
    assert _statuses(Outcome.SUCCEEDED, "true") == set(STATUSES)


@pytest.mark.parametrize("status", STATUSES)
def test_a_failure_names_its_status(status: int) -> None:
    judgement = _judge(Exchange(status=status))

    if 200 <= status < 400:
        assert judgement == SUCCEEDED == Judgement(Outcome.SUCCEEDED, None, None)
    elif status in PERMANENT:
        message = f"The partner answered {status}, which the same request cannot turn into a success."
        assert judgement == Judgement(Outcome.PERMANENT, f"http_{status}", message)
    else:
        assert judgement == Judgement(Outcome.TEMPORARY, f"http_{status}", f"The partner answered {status}.")


@pytest.mark.parametrize("status", [200, 204, 299, 302, 399])
def test_a_good_status_that_does_not_meet_the_condition_is_temporary(status: int) -> None:
    message = f"The partner answered {status}, but the success condition is not met."

    assert _judge(Exchange(status=status), "status == 201") == Judgement(
        Outcome.TEMPORARY, "condition_not_met", message
    )


@pytest.mark.parametrize("status", [100, 199, 200, 399, 400, 599])
def test_a_status_that_is_neither_good_nor_permanent_is_told_by_its_number(status: int) -> None:
    judgement = classify(Exchange(status=status), success_condition="false", permanent_statuses=())

    code = "condition_not_met" if 200 <= status < 400 else f"http_{status}"
    assert (judgement.outcome, judgement.error_code) == (Outcome.TEMPORARY, code)


@pytest.mark.parametrize(
    ("permanent", "status", "outcome"),
    [
        case((), 422, Outcome.TEMPORARY, id="none-at-all"),
        case((404,), 404, Outcome.PERMANENT, id="added"),
        case((404,), 422, Outcome.TEMPORARY, id="left-out"),
        case((503,), 503, Outcome.PERMANENT, id="server-error"),
        case((200,), 200, Outcome.SUCCEEDED, id="the-condition-goes-first"),
        case([400, 404], 404, Outcome.PERMANENT, id="list"),
    ],
)
def test_the_partners_list_replaces_the_default(permanent: tuple[int, ...], status: int, outcome: Outcome) -> None:
    judgement = classify(Exchange(status=status), success_condition=DEFAULT_CONDITION, permanent_statuses=permanent)

    assert judgement.outcome is outcome


def test_a_good_status_on_the_partners_list_that_does_not_meet_the_condition_is_permanent() -> None:
    judgement = classify(Exchange(status=200), success_condition="false", permanent_statuses=(200,))

    assert (judgement.outcome, judgement.error_code) == (Outcome.PERMANENT, "http_200")


@pytest.mark.parametrize("kind", FailureKind)
@pytest.mark.parametrize("condition", [DEFAULT_CONDITION, "true", "status == 200"])
def test_a_network_failure_is_temporary_unless_our_guard_refused(kind: FailureKind, condition: str) -> None:
    outcome = Outcome.REFUSED if kind is FailureKind.ADDRESS_BLOCKED else Outcome.TEMPORARY

    judgement = _judge(Exchange(failure=kind, failure_detail="what libcurl said"), condition)

    assert judgement == Judgement(outcome, kind.value, "what libcurl said")


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failure_without_a_detail_is_told_by_its_kind(kind: FailureKind) -> None:
    assert _judge(Exchange(failure=kind)).error_message == kind.value


def test_a_failure_outweighs_a_status_that_came_before_it() -> None:
    judgement = _judge(Exchange(status=200, failure=FailureKind.CONNECTION_RESET))

    assert judgement == Judgement(Outcome.TEMPORARY, "connection_reset", "connection_reset")
