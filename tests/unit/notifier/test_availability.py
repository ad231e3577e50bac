from __future__ import annotations

import threading

import pytest
from django.db import DataError, InterfaceError, OperationalError

from notifier.availability import Availability, is_connection_lost
from tests.support.waiting import wait_until


class Database:
    """Answers, refuses, or hangs until it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.there = True
        self.gate = threading.Event()
        self.gate.set()

    def ask(self) -> None:
        self.asked += 1
        self.gate.wait(10)
        if not self.there:
            raise OperationalError(2013, "Lost connection")


def test_a_database_that_was_not_lost_is_not_asked() -> None:
    database = Database()

    assert Availability(database.ask).away() is False
    assert database.asked == 0


def test_after_a_loss_the_next_request_asks_and_goes_on_where_it_is_back() -> None:
    database = Database()
    availability = Availability(database.ask)
    availability.lost()

    assert [availability.away(), availability.away()] == [False, False]
    assert database.asked == 1


def test_while_it_is_away_nobody_but_the_first_asks_it_and_its_return_is_noticed_without_anybodys_asking() -> None:
    database = Database()
    database.there = False
    availability = Availability(database.ask, probe_seconds=0.01)
    availability.lost()
    assert availability.away() is True
    wait_until(lambda: database.asked > 2, seconds=5, what="its thread to ask")

    database.gate.clear()
    assert [availability.away() for _ in range(100)] == [True] * 100
    database.there = True
    database.gate.set()

    wait_until(lambda: not availability.away(), seconds=5, what="the return to be noticed")
    asked = database.asked
    assert [availability.away() for _ in range(100)] == [False] * 100
    assert database.asked == asked


def test_nobody_waits_while_one_asks() -> None:
    database = Database()
    database.gate.clear()
    availability = Availability(database.ask)
    availability.lost()
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(availability.away()))
    asking.start()
    wait_until(lambda: database.asked == 1, seconds=5, what="the question")

    assert availability.away() is True

    database.gate.set()
    asking.join()
    assert answers == [False]
    assert availability.away() is False


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (OperationalError(2002, "refused"), True),
        (OperationalError(2013, "timed out"), True),
        (InterfaceError(0, ""), True),
        # These the server says, or it is SQLite.
        (OperationalError(1040, "Too many connections"), False),
        (OperationalError(1114, "The table is full"), False),
        (OperationalError("database is locked"), False),
        (OperationalError(), False),
        (DataError(2013), False),
    ],
)
def test_which_errors_mean_that_the_connection_is_lost(error: Exception, lost: bool) -> None:
    assert is_connection_lost(error) is lost
