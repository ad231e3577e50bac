"""Many at the same instant under one key: one row, and everybody gets it."""

from __future__ import annotations

import itertools
import random
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


def _batch(caller: Caller, asked: list[dict[str, Any]]) -> Answer:
    return caller.post("/v1/notify/batch", {"notifications": asked})


@pytest.mark.parametrize("shuffled", [case(False, id="equal"), case(True, id="in-another-order-each")])
@pytest.mark.parametrize(
    "fields", [case({}, id="one-insert"), case({"metadata": {"a": "b", "c": "d"}}, id="with-labels")]
)
def test_batches_with_the_same_keys_at_the_same_instant_make_each_task_once(
    fields: dict[str, Any], shuffled: bool
) -> None:
    partner, callers, order = make_partner(), _callers(THREADS), random.Random(7)

    for number in range(ROUNDS // 5):
        asked = [notification(partner, idempotency_key=f"k-{number}-{n}", body=n, **fields) for n in range(20)]
        batches = [order.sample(asked, len(asked)) if shuffled else asked for _ in callers]
        answers = _at_once([partial(_batch, one, batch) for one, batch in zip(callers, batches, strict=True)])

        stored = dict(
            NotificationTask.objects.filter(idempotency_key__startswith=f"k-{number}-").values_list(
                "idempotency_key", "task_id"
            )
        )
        assert len(stored) == 20
        made: Counter[str] = Counter()
        for answer, batch in zip(answers, batches, strict=True):
            for item, entry in zip(batch, document(answer)["results"], strict=True):
                assert entry["status"] in (200, 202)
                assert entry["task_id"] == str(stored[item["idempotency_key"]])
                made[entry["task_id"]] += entry["status"] == 202
        assert set(made.values()) == {1}

    assert NotificationTask.objects.count() == ROUNDS // 5 * 20
    assert NotificationLabel.objects.count() == ROUNDS // 5 * 20 * len(fields.get("metadata", {}))


def test_single_posts_and_batches_at_the_same_instant_make_each_task_once() -> None:
    partner, callers = make_partner(), _callers(THREADS)

    for number in range(ROUNDS // 5):
        asked = [notification(partner, idempotency_key=f"k-{number}-{n}", body=n) for n in range(6)]
        singles = [partial(caller.notify, item) for caller, item in zip(callers[2:], asked, strict=True)]
        answers = _at_once([partial(_batch, callers[0], asked), partial(_batch, callers[1], asked[::-1]), *singles])

        forwards = [entry["task_id"] for entry in document(answers[0])["results"]]
        backwards = [entry["task_id"] for entry in document(answers[1])["results"]]
        alone = [document(answer, answer.status_code)["task_id"] for answer in answers[2:]]
        assert forwards == backwards[::-1] == alone
        statuses = [entry["status"] for answer in answers[:2] for entry in document(answer)["results"]]
        assert (statuses + [answer.status_code for answer in answers[2:]]).count(202) == len(asked)

    assert NotificationTask.objects.count() == ROUNDS // 5 * 6
