"""The lifecycle in any order of events, held against a model in memory after each step.

Hypothesis chooses what happens and makes the shortest story of a failure. ``STORIES=2000`` tries so many, other ones
each time; without it the same few are told in every run.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from notifier import lifecycle
from notifier.intake import task_id_at
from notifier.lifecycle import Claim, NewTask, Result
from notifier.models import AttemptStatus, NotificationAttempt, NotificationTask, Partner, Status
from notifier.models.task import DeadReason
from notifier.policy import retry
from tests.integration.lifecycle.model import Answer, ModelTask
from tests.support.factories import URL, make_partner

pytestmark = pytest.mark.django_db

STORIES = int(os.environ.get("STORIES", "0"))
STEPS = 40
MOST_TASKS = 5
BEGIN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 60 * SECOND
MAX_AGE_HOURS = 1.0


def _seconds(seconds: int | None) -> timedelta | None:
    return None if seconds is None else seconds * SECOND


# Around the times that matter: backoff, lease, age.
SPANS = st.sampled_from([0, 1, 10, 59, 60, 61, 3600]).map(_seconds)
SHARES = st.sampled_from([MOST_TASKS, MOST_TASKS, 1, 0])
POSITIONS = st.integers(0, 1_000_000)


@dataclass(frozen=True)
class InTheAir:
    """A claim that a worker holds in memory, whatever has become of its lease."""

    claim: Claim


@dataclass(frozen=True)
class Written:
    """A result that was written, and may be written again: the worker may not have heard of the commit."""

    result: Result
    answer: Answer
    retry_at: datetime


class Lifecycle(RuleBasedStateMachine):
    """Tasks of two partners, workers that claim, answer and die, a sweep, and people who cancel and requeue."""

    def __init__(self) -> None:
        super().__init__()
        self._example = transaction.atomic()
        self._example.__enter__()
        self.now = BEGIN
        self.partners: list[Partner] = [make_partner(max_age_hours=MAX_AGE_HOURS) for _ in range(2)]
        self.tasks: dict[int, ModelTask] = {}
        self.in_the_air: list[InTheAir] = []
        self.written: list[Written] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._example.__exit__(None, None, None)

    # What happens. Few rules and few tasks, so that much happens to each.

    @initialize()
    def begin(self) -> None:
        for partner in (0, 0, 1):
            self.accept(partner, 4, 2, timedelta(), None)

    @precondition(lambda self: len(self.tasks) < MOST_TASKS)
    @rule(
        partner=st.integers(0, 1),
        rank=st.sampled_from([0, 4, 9]),
        max_attempts=st.integers(1, 3),
        delay=st.sampled_from([0, 0, 0, 1, 60]).map(_seconds),
        age=st.sampled_from([None, None, 1, 61, 3600]).map(_seconds),
    )
    def accept(self, partner: int, rank: int, max_attempts: int, delay: timedelta, age: timedelta | None) -> None:
        due = self.now + delay
        fields: dict[str, Any] = {
            "rank": rank,
            "max_attempts": max_attempts,
            "next_attempt_at": due,
            "expires_at": None if age is None else due + age,
        }
        new = NewTask(
            task_id=task_id_at(self.now), partner_id=self.partners[partner].pk, target_url=URL, http_method="POST",
            headers={}, metadata={}, fingerprint="0" * 64, created_at=self.now, **fields,
        )  # fmt: skip
        lifecycle.accept([new])
        task = NotificationTask.objects.get(task_id=new.task_id)
        self.tasks[task.pk] = ModelTask(key=task.pk, partner=task.partner_id, **fields)

    @rule(shares=st.tuples(SHARES, SHARES), waits=st.booleans())
    def claim(self, shares: tuple[int, int], waits: bool) -> None:
        """Now, or when the next task is due."""
        due = [task.next_attempt_at for task in self.tasks.values() if task.next_attempt_at is not None]
        if waits and due:
            self.now = max(self.now, min(due))
        wanted = {partner.pk: share for partner, share in zip(self.partners, shares, strict=True)}

        claims = lifecycle.claim(wanted, now=self.now, lease_for=LEASE)

        assert len({claim.id for claim in claims}) == len(claims)
        for partner, share in wanted.items():
            self._taken([claim for claim in claims if claim.partner_id == partner], partner, share)

    def _taken(self, claims: list[Claim], partner: int, share: int) -> None:
        """These were taken of the partner: what was due, the most urgent first, and nobody else's."""
        due = [task for task in self.tasks.values() if task.partner == partner and task.due(self.now)]
        over = [task for task in due if task.over(self.now)]
        taken = [self.tasks[claim.id] for claim in claims]
        assert all(task in due and task not in over for task in taken)
        # Tasks that are over and that nobody has swept yet take up a share, and no more than that.
        assert min(share, len(due)) - len(over) <= len(taken) <= share
        urgency = [(task.rank, task.next_attempt_at) for task in taken]
        assert urgency == sorted(urgency)
        left = [(task.rank, task.next_attempt_at) for task in due if task not in over and task not in taken]
        assert not taken or not left or max(urgency) <= min(left)
        for claim, task in zip(claims, taken, strict=True):
            task.claim(claim.lease_token, until=self.now + LEASE)
            assert (claim.attempt_count, claim.attempts_used) == (task.attempt_count, task.attempts_used)
            self.in_the_air.append(InTheAir(claim))

    @precondition(lambda self: self.in_the_air)
    @rule(answers=st.lists(st.tuples(POSITIONS, st.sampled_from(Answer), SPANS), min_size=1, max_size=3))
    def record(self, answers: list[tuple[int, Answer, timedelta]]) -> None:
        """A worker's batch comes back, in time or late: it does not know."""
        batch: dict[int, Written] = {}
        for position, answer, wait in answers:
            if self.in_the_air:
                claim = self._one_in_the_air(position).claim
                if claim.id in batch:
                    self.in_the_air.append(InTheAir(claim))  # the next batch's
                    continue
                result = self._result(claim, answer, self.now + wait)
                batch[claim.id] = Written(result, answer, self.now + wait)
        self._write(batch)
        self.written += batch.values()

    @precondition(lambda self: self.written)
    @rule(position=POSITIONS)
    def record_again(self, position: int) -> None:
        """The commit came through, and its answer did not."""
        again = self.written[position % len(self.written)]
        self._write({again.result.task_key: again})

    def _write(self, batch: dict[int, Written]) -> None:
        moved = lifecycle.record([each.result for each in batch.values()], now=self.now)

        expected = {
            key
            for key, each in batch.items()
            if self.tasks[key].answer(
                each.result.lease_token, each.result.attempt_no, each.answer, retry_at=each.retry_at, now=self.now
            )
        }
        assert moved == expected

    def _result(self, claim: Claim, answer: Answer, retry_at: datetime) -> Result:
        """As the worker's judge decides from what it knows: its claim."""
        used_up = claim.attempts_used >= claim.max_attempts
        decisions: dict[Answer, retry.Decision] = {
            Answer.SUCCESS: retry.Succeeded(),
            Answer.TEMPORARY: retry.Dead(retry.DeadReason.EXHAUSTED) if used_up else retry.RetryAt(retry_at),
            Answer.PERMANENT: retry.Dead(retry.DeadReason.REJECTED),
            Answer.FAILED_PROBE: retry.RetryAt(retry_at),
        }
        return Result(
            task_key=claim.id,
            attempt_no=claim.attempt_count,
            lease_token=claim.lease_token,
            decision=decisions[answer],
            attempt_status=AttemptStatus.SUCCEEDED if answer is Answer.SUCCESS else AttemptStatus.FAILED,
            excused=answer is Answer.FAILED_PROBE,
        )

    @precondition(lambda self: self.in_the_air)
    @rule(position=POSITIONS, gives_back=st.booleans())
    def a_worker_ends(self, position: int, gives_back: bool) -> None:
        """In good order, or so that nothing is ever heard of what it sent."""
        claim = self._one_in_the_air(position).claim
        if gives_back:
            given_back = lifecycle.give_back([claim], now=self.now)

            assert given_back == self.tasks[claim.id].give_back(claim.lease_token, now=self.now)

    @rule(position=POSITIONS, cancels=st.booleans())
    def somebody_cancels_or_requeues(self, position: int, cancels: bool) -> None:
        key = list(self.tasks)[position % len(self.tasks)]
        row, task = NotificationTask.objects.select_related("partner").get(pk=key), self.tasks[key]
        if cancels:
            assert lifecycle.cancel(row, now=self.now) is task.cancel(self.now)
        else:
            requeued = lifecycle.requeue(row, now=self.now)

            assert requeued is task.requeue(self.now, max_age=timedelta(hours=MAX_AGE_HOURS))

    @rule(span=SPANS, sweeps=st.booleans())
    def time_passes(self, span: timedelta, sweeps: bool) -> None:
        self.now += span
        if sweeps:
            self._sweep()

    def _sweep(self) -> None:
        waiting_again = lifecycle.release_expired(now=self.now, limit=1000)
        released = [task for task in self.tasks.values() if task.release(self.now)]
        assert Counter(waiting_again) == Counter(task.partner for task in released if task.waits)

        expired = lifecycle.expire(now=self.now, limit=1000)

        assert expired == sum([task.expire(self.now) for task in self.tasks.values()])

    def _one_in_the_air(self, position: int) -> InTheAir:
        return self.in_the_air.pop(position % len(self.in_the_air))

    # What must hold. The first of these makes the model's tasks and the database's the same.

    @invariant()
    def rows_are_as_the_model_says_and_none_is_lost_or_invented(self) -> None:
        columns = (
            "status", "dead_reason", "attempt_count", "attempts_before_requeue", "attempts_excused",
            "next_attempt_at", "lease_expires_at", "finished_at", "expires_at",
        )  # fmt: skip
        rows = NotificationTask.objects.values_list("pk", "lease_token", *columns)
        attempts: dict[int, dict[int, str]] = {key: {} for key in self.tasks}
        for key, number, status in NotificationAttempt.objects.values_list("task_id", "attempt_no", "status"):
            attempts[key][number] = status

        assert {row[0]: row[1:] for row in rows} == {
            key: (task.lease, *(getattr(task, name) for name in columns)) for key, task in self.tasks.items()
        }
        assert attempts == {key: task.history for key, task in self.tasks.items()}

    @invariant()
    def whatever_is_unfinished_will_be_found_again(self) -> None:
        """Never lost (1): it waits with a due time for a claim, or runs with a lease whose end the sweep finds."""
        for task in self.tasks.values():
            found = (task.next_attempt_at is not None) + (task.lease_expires_at is not None)
            assert found == (task.finished_at is None)

    @invariant()
    def no_task_is_held_twice(self) -> None:
        """While leases hold (2): of the claims in the air one at most may move its task, and all of them are counted."""
        holders = Counter(
            each.claim.id for each in self.in_the_air if self.tasks[each.claim.id].lease == each.claim.lease_token
        )
        assert all(count == 1 for count in holders.values())
        unexpired = Counter(
            task.partner
            for task in self.tasks.values()
            if task.lease_expires_at is not None and task.lease_expires_at > self.now
        )
        assert lifecycle.in_flight([partner.pk for partner in self.partners], now=self.now) == unexpired

    @invariant()
    def only_attempts_that_count_use_up_the_budget(self) -> None:
        """A failed probe burns nothing (9)."""
        for task in self.tasks.values():
            assert task.attempts_used >= 0
            assert task.dead_reason != DeadReason.EXHAUSTED or task.attempts_used >= task.max_attempts

    @invariant()
    def the_history_has_no_holes(self) -> None:
        """Each claim that was not given back has its attempt, the running one excepted."""
        for task in self.tasks.values():
            ended = task.attempt_count - (task.status == Status.RUNNING)
            assert sorted(task.history) == list(range(1, ended + 1))


def test_whatever_happens_in_whatever_order_the_lifecycle_does_what_its_model_does() -> None:
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=STORIES or 50,
            stateful_step_count=STEPS,
            derandomize=not STORIES,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
