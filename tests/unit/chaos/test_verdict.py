"""The comparison of a chaos run's ledgers: each kind of breach, crafted, is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.ledger import Attempt, Fault, Limit, Post, Request, Task
from tests.chaos.report import breaches, last_line, table
from tests.chaos.verdict import Evidence, Verdict, compare

LEASE, TIMEOUT = 6.0, 2.0
CRASH = Fault(kind="kill a worker", target="worker-1", began=100.5, ended=102.0)
FLUSH = Fault(kind="flush the broker", target="valkey", began=100.5, ended=102.0)


def post(serial: int = 1, **changes: Any) -> Post:
    fields: dict[str, Any] = {
        "serial": serial, "partner": "acme", "key": f"k-{serial}", "method": "POST", "path": f"/n/{serial}", "sha": "aa",
        "task_id": f"id-{serial}", "posted_at": 99.0, "ended_at": 99.1,
    }  # fmt: skip
    return Post(**fields | changes)


def request(serial: int = 1, attempt: int = 1, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "id": f"id-{serial}", "attempt": attempt, "partner": "acme", "method": "POST", "path": f"/n/{serial}",
        "sha": "aa", "arrived": 100.0, "ended": 100.1, "answer": "200", "success": True,
    }  # fmt: skip
    return Request(**fields | changes)


def attempt(number: int = 1, status: str = "succeeded", error_code: str | None = None, at: float = 100.2) -> Attempt:
    return Attempt(number=number, status=status, error_code=error_code, at=at)


def task(serial: int = 1, *attempts: Attempt, **changes: Any) -> Task:
    made = attempts or (attempt(),)
    fields: dict[str, Any] = {
        "id": f"id-{serial}", "partner": "acme", "path": f"/n/{serial}", "status": "succeeded", "dead_reason": None,
        "attempt_count": len(made), "attempts": made,
    }  # fmt: skip
    return Task(**fields | changes)


def judge(
    posts: Sequence[Post] = (),
    requests: Sequence[Request] = (),
    tasks: Sequence[Task] = (),
    faults: Sequence[Fault] = (),
    limit: Limit | None = None,
) -> Verdict:
    return compare(
        Evidence(
            posts=posts,
            requests=requests,
            tasks=tasks,
            faults=faults,
            losing={CRASH.kind},
            limits={limit.partner: limit} if limit else {},
            lease_seconds=LEASE,
            timeout_seconds=TIMEOUT,
        )
    )


def found(verdict: Verdict) -> dict[str, int]:
    """How many breaches of each kind, without those of which there are none."""
    return {kind: len(sentences) for kind, sentences in verdict.breaches.items() if sentences}


def test_what_was_promised_and_came_true_is_no_breach() -> None:
    verdict = judge([post(1), post(2)], [request(1), request(2)], [task(1), task(2)])

    assert found(verdict) == {}
    assert verdict.passed
    assert (verdict.accepted, verdict.delivered, verdict.unacknowledged, verdict.duplicates) == (2, 2, 0, [])


@pytest.mark.parametrize(
    ("requests", "tasks"),
    [
        pytest.param([], [], id="the row is gone"),
        pytest.param([], [task()], id="succeeded, and the partner never got it"),
        pytest.param([request(answer="500", success=False)], [task()], id="succeeded, and the partner never said so"),
        pytest.param([], [task(status="dead", dead_reason="exhausted")], id="given up"),
        pytest.param([request()], [task(status="dead", dead_reason="exhausted")], id="given up after a success"),
    ],
)
def test_lost(requests: list[Request], tasks: list[Task]) -> None:
    verdict = judge([post()], requests, tasks)

    assert found(verdict) == {"lost": 1}
    assert "id-1" in verdict.breaches["lost"][0]
    assert (verdict.accepted, verdict.delivered) == (1, 0)


def test_a_notification_whose_202_was_lost_is_delivered_too_and_is_not_invented() -> None:
    unknown = post(task_id=None, key=None, lost=1)

    verdict = judge([unknown], [request()], [task()])

    assert found(verdict) == {}
    assert (verdict.accepted, verdict.delivered, verdict.unacknowledged) == (0, 0, 1)
    assert found(judge([unknown], [], [task(status="dead", dead_reason="exhausted")])) == {"lost": 1}


def test_invented_a_request_that_exists_nowhere() -> None:
    assert found(judge([], [request()], [])) == {"invented": 1}


def test_invented_a_row_that_nobody_posted() -> None:
    assert found(judge([], [request()], [task()])) == {"invented": 1}


def test_invented_a_row_of_a_post_that_was_refused() -> None:
    refused = post(task_id=None, key=None, lost=0, unavailable=0)

    assert found(judge([refused], [request()], [task()])) == {"invented": 1}


def test_invented_a_second_row_of_one_notification() -> None:
    second = task(1, id="id-1b")

    verdict = judge([post(lost=1)], [request(), request(id="id-1b")], [task(), second])

    assert found(verdict) == {"invented": 1}
    assert verdict.breaches["invented"][0].startswith("id-1b ")


@pytest.mark.parametrize("changed", [{"sha": "bb"}, {"path": "/n/1?"}, {"method": "PUT"}, {"partner": "globex"}])
def test_wrong_bytes(changed: dict[str, Any]) -> None:
    assert found(judge([post()], [request(**changed)], [task()])) == {"wrong": 1}


def test_wrong_an_answer_that_names_another_notification() -> None:
    verdict = judge([post(1), post(2, task_id="id-1")], [request(1)], [task(1)])

    assert found(verdict) == {"wrong": 1}
    assert (verdict.accepted, verdict.delivered) == (2, 1)


@pytest.mark.parametrize("status", ["pending", "running", "failed"])
def test_stuck(status: str) -> None:
    assert found(judge([post()], [request()], [task(status=status)])) == {"stuck": 1}


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(task(1, attempt(1), attempt(3)), id="a gap"),
        pytest.param(task(1, attempt(2)), id="no first one"),
        pytest.param(task(1, attempt(1), attempt_count=2), id="counted, not written"),
        pytest.param(task(1, attempt(1), attempt(2), attempt_count=1), id="written, not counted"),
    ],
)
def test_holes(history: Task) -> None:
    assert found(judge([post()], [request()], [history])) == {"holes": 1}


def test_holes_an_attempt_that_only_the_receiver_knows() -> None:
    requests = [request(attempt=1, answer="500", success=False), request(attempt=2, arrived=101.0, ended=101.1)]

    assert found(judge([post()], requests, [task(1, attempt(1))])) == {"holes": 1}


# --- duplicates ---

AGAIN = [request(attempt=1), request(attempt=2, arrived=107.0, ended=107.1)]
LEASE_EXPIRED = attempt(1, "lease_expired", "lease_expired", at=106.5)


def duplicates_of(
    first: Attempt, *, faults: Sequence[Fault] = (), requests: Sequence[Request] = AGAIN
) -> tuple[Verdict, str | None]:
    verdict = judge([post()], requests, [task(1, first, attempt(2, at=107.2))], faults)
    (duplicate,) = verdict.duplicates
    return verdict, duplicate.why


def test_a_duplicate_that_nothing_explains_is_a_breach() -> None:
    for history in (
        attempt(1),
        LEASE_EXPIRED,
        attempt(1, "failed", "connection_reset"),
        attempt(1, "failed", "timeout"),
    ):
        verdict, why = duplicates_of(history)

        assert why is None
        assert found(verdict) == {"unexplained": 1}


def test_a_fault_that_loses_no_result_explains_no_duplicate() -> None:
    assert found(duplicates_of(LEASE_EXPIRED, faults=[FLUSH])[0]) == {"unexplained": 1}


@pytest.mark.parametrize("away", [-50.0, 50.0])
def test_a_fault_at_another_time_explains_no_duplicate(away: float) -> None:
    elsewhere = replace(CRASH, began=CRASH.began + away, ended=CRASH.ended + away)

    assert found(duplicates_of(LEASE_EXPIRED, faults=[elsewhere])[0]) == {"unexplained": 1}


@pytest.mark.parametrize(
    ("history", "why"),
    [
        (LEASE_EXPIRED, "the lease ran out before the answer was recorded"),
        (attempt(1, "succeeded", at=106.8), "the answer was recorded when the lease had been lost"),
        (attempt(1, "failed", "connection_reset"), "the answer did not come through (connection_reset)"),
    ],
)
def test_a_crash_at_that_time_explains_a_duplicate(history: Attempt, why: str) -> None:
    verdict, given = duplicates_of(history, faults=[CRASH])

    assert given == why
    assert found(verdict) == {}
    assert verdict.duplicates[0].fault == CRASH.kind


def test_an_answer_that_came_too_late_explains_a_duplicate() -> None:
    slow = [request(attempt=1, ended=100.0 + TIMEOUT), request(attempt=2, arrived=103.0, ended=103.1)]

    verdict, why = duplicates_of(attempt(1, "failed", "timeout"), requests=slow)

    assert why == "the answer came when the time-out was over"
    assert found(verdict) == {}


def test_nothing_explains_an_attempt_that_was_sent_twice() -> None:
    twice = [request(answer="500", success=False), request(arrived=101.0, ended=101.1)]

    verdict = judge([post()], twice, [task(1, attempt(1))], [CRASH])

    assert found(verdict) == {"unexplained": 1}
    assert "twice as attempt 1" in verdict.breaches["unexplained"][0]


def test_retries_after_failures_are_no_duplicates() -> None:
    requests = [
        request(attempt=1, answer="500", success=False),
        request(attempt=2, arrived=101.0, ended=101.1, answer="closed", success=False),
        request(attempt=3, arrived=102.0, ended=102.1),
    ]
    history = task(1, attempt(1, "failed", "http_500"), attempt(2, "failed", "timeout"), attempt(3))

    verdict = judge([post()], requests, [history])

    assert found(verdict) == {}
    assert verdict.duplicates == []


# --- limits ---


def served(times: Sequence[tuple[float, float]], **changes: Any) -> tuple[list[Post], list[Request], list[Task]]:
    """Notifications of one partner, each received once, from and until those times."""
    requests = [request(number, arrived=begin, ended=end, **changes) for number, (begin, end) in enumerate(times)]
    return [post(number) for number in range(len(times))], requests, [task(number) for number in range(len(times))]


def test_concurrency() -> None:
    limit = Limit(partner="acme", max_concurrency=2)
    kept = [(100.0, 101.0), (100.5, 102.0), (101.0, 103.0), (102.1, 104.0)]

    assert found(judge(*served(kept), limit=limit)) == {}
    assert found(judge(*served([*kept, (102.5, 102.6)]), limit=limit)) == {"limits": 1}
    assert found(judge(*served([*kept, (102.5, 102.6)]), limit=replace(limit, partner="globex"))) == {}


def test_a_request_that_a_frozen_sender_left_open_counts_for_a_lease() -> None:
    limit = Limit(partner="acme", max_concurrency=1)
    left = {"answer": "closed"}

    assert found(judge(*served([(100.0, 110.0), (100.1 + LEASE, 107.0)], **left), limit=limit)) == {}
    assert found(judge(*served([(100.0, 110.0), (99.9 + LEASE, 107.0)], **left), limit=limit)) == {"limits": 1}


def test_rate() -> None:
    limit = Limit(partner="acme", rate_per_second=10.0, burst=5)
    # The burst, and what two and a half seconds of transit may push together.
    at_once = [(100.0, 100.1)] * 30
    steady = [(100.1 + number / 10, 200.0) for number in range(50)]

    assert found(judge(*served(at_once), limit=limit)) == {}
    assert found(judge(*served([*at_once, *steady]), limit=limit)) == {}
    assert found(judge(*served([*at_once, (100.05, 100.1)]), limit=limit)) == {"limits": 1}
    assert found(judge(*served([*at_once, *steady, (105.0, 105.1)]), limit=limit)) == {"limits": 1}
    twice_as_fast = [(100.0 + number / 20, 200.0) for number in range(200)]
    assert judge(*served(twice_as_fast), limit=limit).breaches["limits"]


# --- what else must not be ---


def test_an_answer_that_no_fault_excuses_is_a_breach() -> None:
    assert found(judge([post(odd=("500 {}",))], [request()], [task()])) == {"other": 1}


def test_a_notification_with_a_key_that_is_never_accepted_is_a_breach() -> None:
    assert found(judge([post(task_id=None, unavailable=9)])) == {"other": 1}
    assert found(judge([post(task_id=None, key=None, unavailable=1)])) == {}


def test_the_last_line_and_the_table() -> None:
    verdict, _ = duplicates_of(LEASE_EXPIRED, faults=[CRASH])
    verdict.breaches["holes"] += ["id-1 has the attempts [1, 3]"] * 30

    assert last_line(verdict, faults=1, seed=7) == (
        "chaos: accepted=1 delivered=1 lost=0 invented=0 wrong=0 stuck=0 holes=30 limits=0 duplicates=1 unexplained=0 "
        "faults=1 seed=7"
    )
    assert breaches(verdict).splitlines()[-1] == "holes: … and 10 more"
    evidence = Evidence(
        posts=[post()], requests=AGAIN, tasks=[task(1, LEASE_EXPIRED, attempt(2, at=107.2))], faults=[CRASH, FLUSH],
        losing={CRASH.kind}, limits={}, lease_seconds=LEASE, timeout_seconds=TIMEOUT,
    )  # fmt: skip
    rows = [line.split() for line in table(evidence, verdict).splitlines()]
    # Silent from the crash to the second delivery.
    assert ["kill", "a", "worker", "1", "6.6", "s", "1", "1"] in rows
    assert ["flush", "the", "broker", "1", "6.6", "s", "0", "0"] in rows
