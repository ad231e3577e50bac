"""The insert finds out by itself that its connection was lost, and stores once what it then does twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection
from pytest_django import DjangoAssertNumQueries

from notifier import clock, deduplication, lifecycle
from notifier.intake import task_id_at
from notifier.lifecycle import NewTask
from notifier.models import NotificationLabel, NotificationTask, Partner
from tests.support.api import caller, document, notification
from tests.support.factories import URL, is_mysql, make_partner
from tests.support.threads import Other
from tests.unit.cases import case

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _a_server() -> None:
    if not is_mysql():
        pytest.skip("SQLite has no connection that could be lost")


def _lose_the_connection() -> None:
    """The server ends this thread's connection, as a restart or a proxy does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()

    def kill() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"KILL {int(number)}")
        return True

    Other(kill).ended()


def _new(partner: Partner, *, key: str | None = None, metadata: dict[str, str] | None = None) -> NewTask:
    now = clock.now()
    return NewTask(
        task_id=task_id_at(now), partner_id=partner.pk, target_url=URL, http_method="POST", headers={},
        metadata=metadata or {}, idempotency_key=key, fingerprint="0" * 64, rank=4, next_attempt_at=now,
        expires_at=now + timedelta(hours=1), max_attempts=3, created_at=now,
    )  # fmt: skip


@pytest.mark.parametrize("fields", [case({}, id="one-insert"), case({"metadata": {"a": "b"}}, id="with-labels")])
def test_a_post_after_the_connection_was_lost_is_accepted_once(fields: dict[str, dict[str, str]]) -> None:
    producer, partner = caller(), make_partner()
    document(producer.notify(notification(partner)), 202)
    _lose_the_connection()

    document(producer.notify(notification(partner, body=1, **fields)), 202)

    assert NotificationTask.objects.count() == 2
    assert NotificationLabel.objects.count() == len(fields)


@pytest.mark.parametrize("key", [None, "k"])
def test_what_was_committed_before_its_answer_was_lost_is_stored_once_and_is_no_replay(key: str | None) -> None:
    tasks = [_new(make_partner(), key=key), _new(make_partner(), key=key)]
    lifecycle.accept(tasks)
    _lose_the_connection()

    stored = deduplication.insert(tasks)

    assert [entry and entry.task_id for entry in stored] == [task.task_id for task in tasks]
    assert NotificationTask.objects.count() == 2


def test_the_same_task_twice_without_a_loss_is_an_error() -> None:
    task = _new(make_partner())
    lifecycle.accept([task])

    with pytest.raises(IntegrityError):
        deduplication.insert([task])

    assert NotificationTask.objects.count() == 1


def test_nothing_to_insert_asks_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert deduplication.insert([]) == []
