"""Many at the same instant under one key: one row, and everybody gets it."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client as DjangoClient

from notifier.models import NotificationLabel, NotificationTask
from tests.support.api import Answer, Caller, document, notification, problem
from tests.support.factories import make_api_key, make_partner
from tests.unit.cases import case

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8
ROUNDS = 50


@pytest.fixture(autouse=True)
def _middleware_is_loaded() -> None:
    """A web process loads its middleware once; the threads' first clients would each do so at the same instant."""
    DjangoClient().get("/healthz")


@pytest.fixture(autouse=True)
def _a_database_for_threads() -> None:
    if "mode=memory" in str(connection.settings_dict["NAME"]):
        pytest.skip("SQLite in memory refuses what a file, as the service uses it, lets wait")


def _at_once(calls: list[Callable[[], Answer]]) -> list[Answer]:
    """Each call in a thread and on a connection of its own, let go at the same instant."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        try:
            # A connection before the start, so that opening one does not spread the calls.
            connection.ensure_connection()
            barrier.wait(timeout=30)
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def _callers(count: int) -> list[Caller]:
    _, plain = make_api_key()
    return [Caller(plain) for _ in range(count)]


@pytest.mark.parametrize(
    "fields", [case({}, id="one-insert"), case({"metadata": {"a": "b", "c": "d"}}, id="with-labels")]
)
def test_identical_posts_at_the_same_instant_make_one_task(fields: dict[str, Any]) -> None:
    partner, callers = make_partner(), _callers(THREADS)

    for number in range(ROUNDS):
        asked = notification(partner, idempotency_key=f"k-{number}", body={"n": number}, **fields)
        answers = _at_once([partial(caller.notify, asked) for caller in callers])

        assert Counter(answer.status_code for answer in answers) == {202: 1, 200: THREADS - 1}
        shown = [document(answer, answer.status_code) for answer in answers]
        row = NotificationTask.objects.get(idempotency_key=f"k-{number}")
        assert {entry["task_id"] for entry in shown} == {str(row.task_id)}
        assert [entry["idempotent_replay"] for entry in shown].count(False) == 1
        assert ["Idempotency-Replayed" in answer for answer in answers].count(True) == THREADS - 1

    assert NotificationTask.objects.count() == ROUNDS
    assert NotificationLabel.objects.count() == ROUNDS * len(fields.get("metadata", {}))


def test_different_posts_under_one_key_at_the_same_instant_make_one_task() -> None:
    partner, callers = make_partner(), _callers(THREADS)

    for number in range(ROUNDS // 5):
        asked = [notification(partner, idempotency_key=f"k-{number}", body=index) for index in range(THREADS)]
        answers = _at_once([partial(caller.notify, body) for caller, body in zip(callers, asked, strict=True)])

        winners = [index for index, answer in enumerate(answers) if answer.status_code == 202]
        assert len(winners) == 1
        row = NotificationTask.objects.get(idempotency_key=f"k-{number}")
        assert bytes(row.body or b"") == str(winners[0]).encode()
        for index, answer in enumerate(answers):
            if index not in winners:
                problem(answer, 422, "idempotency_key_reused")

    assert NotificationTask.objects.count() == ROUNDS // 5


def test_two_keys_crossed_at_the_same_instant_hold_nobody_up() -> None:
    partner, callers = make_partner(), _callers(THREADS)
    keys = itertools.cycle(["a", "b"])

    asked = [notification(partner, idempotency_key=next(keys), metadata={"m": "n"}) for _ in range(THREADS)]
    answers = _at_once([partial(caller.notify, body) for caller, body in zip(callers, asked, strict=True)])

    assert Counter(answer.status_code for answer in answers) == {202: 2, 200: THREADS - 2}
    assert {task.idempotency_key for task in NotificationTask.objects.all()} == {"a", "b"}
    assert NotificationTask.objects.count() == NotificationLabel.objects.count() == 2


def test_posts_without_a_key_at_the_same_instant_are_a_task_each() -> None:
    partner, callers = make_partner(), _callers(THREADS)

    answers = _at_once([partial(caller.notify, notification(partner)) for caller in callers])

    assert len({document(answer, 202)["task_id"] for answer in answers}) == THREADS
    assert NotificationTask.objects.count() == THREADS
