"""deliveries.prune, its task and its command: how long what ended is kept."""

from __future__ import annotations

import io
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config.celery import app
from deliveries import prune, tasks
from deliveries.prune import pruned_total
from notifier import clock
from notifier.models import NotificationTask, Partner, Status
from notifier.models.task import DeadReason, Outcome
from tests.support.away import away
from tests.support.factories import is_mysql, make_attempt, make_partner, make_task
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db

KEPT = {Outcome.SUCCEEDED: 10, Outcome.CANCELLED: 20}
KEPT_DEAD = 40


@pytest.fixture(autouse=True)
def _kept(settings: Any) -> None:
    settings.NOTIFIER_KEEP_SUCCEEDED_DAYS = KEPT[Outcome.SUCCEEDED]
    settings.NOTIFIER_KEEP_CANCELLED_DAYS = KEPT[Outcome.CANCELLED]
    settings.NOTIFIER_KEEP_DEAD_DAYS = KEPT_DEAD


def _ended(days_ago: float, outcome: Outcome = Outcome.SUCCEEDED, partner: Partner | None = None) -> NotificationTask:
    how: dict[str, Any] = {"status": Status.SUCCEEDED}
    if outcome != Outcome.SUCCEEDED:
        how = {"status": Status.DEAD, "dead_reason": DeadReason(outcome.value)}
    task = make_task(partner, finished_at=clock.read() - timedelta(days=days_ago), **how)
    make_attempt(task)
    return task


def _left() -> set[int]:
    return set(NotificationTask.objects.values_list("pk", flat=True))


def _counted(outcome: Outcome) -> float:
    return float(pruned_total.labels(outcome)._value.get())


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_kept_for_its_time(outcome: Outcome) -> None:
    days = KEPT.get(outcome, KEPT_DEAD)
    old, young = _ended(days + 0.01, outcome), _ended(days - 0.01, outcome)
    before = _counted(outcome)

    batches = list(prune.prune())

    assert [(batch.outcome, batch.tasks, batch.up_to) for batch in batches] == [(outcome, 1, old.finished_at)]
    assert _left() == {young.pk}
    assert _counted(outcome) == before + 1


def test_nothing_to_prune_asks_once_an_outcome(django_assert_num_queries: Any) -> None:
    _ended(1)
    make_task()

    # The clock, where it is the server's, and of each outcome's transaction its read between the savepoint's two.
    with django_assert_num_queries(is_mysql() + 3 * len(Outcome)):
        assert list(prune.prune()) == []


def test_batches_go_on_until_everything_is_gone_and_wait_in_between() -> None:
    partner, waits = make_partner(), list[float]()
    for number in range(25):
        _ended(11 + number, partner=partner)

    batches = list(prune.prune(batch=10, wait=waits.append))

    assert [batch.tasks for batch in batches] == [10, 10, 5]
    assert _left() == set()
    # Not after the last one.
    assert len(waits) == 2
    assert min(waits) > 0


def test_what_ended_at_the_same_instant_is_not_left_between_two_batches() -> None:
    partner, at = make_partner(), clock.read() - timedelta(days=11)
    for _ in range(25):
        make_task(partner, status=Status.SUCCEEDED, finished_at=at)

    assert [batch.tasks for batch in prune.prune(batch=10, wait=lambda seconds: None)] == [10, 10, 5]


def test_after_its_time_no_batch_is_begun() -> None:
    _ended(11)

    assert list(prune.prune(most_seconds=0)) == []
    assert len(_left()) == 1


def test_stopped_amid_its_work_it_has_deleted_whole_batches() -> None:
    partner = make_partner()
    for number in range(25):
        _ended(11 + number, partner=partner)

    running = prune.prune(batch=10, wait=lambda seconds: None)
    next(running)
    running.close()

    assert len(_left()) == 15


@pytest.mark.django_db(transaction=True)
def test_several_at_once_delete_everything_once() -> None:
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time")
    partner = make_partner()
    kept = {make_task(partner).pk}
    for number in range(120):
        _ended(11 + number, partner=partner)

    deleted = at_once(4, lambda number: sum(batch.tasks for batch in prune.prune(batch=7)))

    # One whose range was all locked by others found nothing and was done; what it left, if anything, is the next one's.
    rest = sum(batch.tasks for batch in prune.prune(batch=7))
    assert sum(deleted) + rest == 120
    assert _left() == kept


def test_the_task_deletes_and_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
    _ended(11)

    with caplog.at_level(logging.INFO):
        tasks.prune()
        tasks.prune()

    assert _left() == set()
    assert [record.message for record in caplog.records] == ["1 notifications that ended long ago were deleted"]


def test_a_prune_without_a_database_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with away(NotificationTask), caplog.at_level(logging.ERROR):
        tasks.prune()

    assert [record.message for record in caplog.records] == ["the prune waits for the database: OperationalError"]


def test_beat_asks_for_it() -> None:
    entry = app.conf.beat_schedule["prune"]

    assert entry["task"] == tasks.prune.name
    # One that waited in the queue for that long is followed by the next.
    assert entry["options"]["expires"] == entry["schedule"]


def test_the_command_says_what_it_keeps_and_what_it_deleted() -> None:
    _ended(11)
    _ended(21, Outcome.CANCELLED)
    out = io.StringIO()

    call_command("prune", stdout=out)

    lines = out.getvalue().splitlines()
    assert lines[0] == "succeeded: those that ended more than 10 days ago"
    assert lines[-1] == "Deleted 2 notifications (1 succeeded, 1 cancelled)."
    assert _left() == set()


def test_the_command_says_when_there_was_nothing() -> None:
    out = io.StringIO()

    call_command("prune", stdout=out)

    assert out.getvalue().splitlines()[-1] == "Nothing was deleted."


def test_the_command_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deliveries.management.commands.prune.PROGRESS_SECONDS", 0.0)
    task = _ended(11)
    out = io.StringIO()

    call_command("prune", stdout=out)

    assert f"  1 succeeded deleted, up to {task.finished_at:%Y-%m-%d %H:%M} UTC" in out.getvalue().splitlines()


def test_the_command_without_a_database_says_what_to_do() -> None:
    with (
        away(NotificationTask),
        pytest.raises(CommandError, match=r"cannot be used .* Nothing was deleted\. Run it again"),
    ):
        call_command("prune", stdout=io.StringIO())
