"""Transactions that InnoDB really undoes: tried again, at most so often, and counted by kind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, transaction

from notifier.models import Partner
from notifier.transactions import DEADLOCK, LOCK_WAIT_TIMEOUT, TRIES, atomically, conflicts
from tests.support.factories import is_mysql, make_partner

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _row_locks() -> None:
    if not is_mysql():
        pytest.skip("SQLite has one writer at a time: there is nothing to wait for")


@pytest.fixture(autouse=True)
def _short_waits() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = 1")
    yield
    connection.close()


def _counted(kind: str) -> float:
    return float(conflicts.labels(kind)._value.get())


def _append(partner: Partner, letter: str) -> None:
    row = Partner.objects.select_for_update().get(pk=partner.pk)
    Partner.objects.filter(pk=partner.pk).update(name=row.name + letter)


def test_of_two_that_lock_each_other_out_one_is_tried_again_and_counted() -> None:
    first, second = make_partner(name=""), make_partner(name="")
    before = _counted("deadlock")
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []
    errors: list[Exception] = []

    def crosswise(letter: str, mine: Partner, other: Partner) -> None:
        def work() -> None:
            tries.append(letter)
            _append(mine, letter)
            if tries.count(letter) == 1:
                both_hold_one.wait(10)
            _append(other, letter)

        try:
            atomically(work)
        except OperationalError as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=crosswise, args=("a", first, second)),
        threading.Thread(target=crosswise, args=("b", second, first)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    # The victim's first try left nothing behind; both have written both rows once.
    assert {"".join(sorted(name)) for name in Partner.objects.values_list("name", flat=True)} == {"ab"}
    assert sorted(tries) in (["a", "a", "b"], ["a", "b", "b"])
    assert _counted("deadlock") == before + 1


def test_a_lock_that_is_never_given_is_waited_for_so_often_and_no_more() -> None:
    partner = make_partner()
    before = _counted("lock_wait_timeout")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Partner.objects.select_for_update().get(pk=partner.pk)
            held.set()
            done.wait(30)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    try:
        with pytest.raises(OperationalError) as raised:
            atomically(lambda: _append(partner, "a"))
    finally:
        done.set()
        holder.join()

    assert raised.value.args[0] == LOCK_WAIT_TIMEOUT
    assert _counted("lock_wait_timeout") == before + TRIES


def test_another_error_is_raised_at_once_and_not_counted() -> None:
    before = {kind: _counted(kind) for kind in ("deadlock", "lock_wait_timeout")}
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise OperationalError(1040, "Too many connections")

    with pytest.raises(OperationalError):
        atomically(work)

    assert len(tries) == 1
    assert {kind: _counted(kind) for kind in before} == before


def test_the_numbers_are_innodbs() -> None:
    assert (DEADLOCK, LOCK_WAIT_TIMEOUT) == (1213, 1205)
