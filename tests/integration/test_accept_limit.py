"""The rate of a key: exact over web processes to a tenth of the burst each, without a write for each accept or a broker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifier import accept_limit, api_keys, clock
from notifier.accept_limit import AcceptLimiter
from notifier.models import ApiKey, KeyAllowance, NotificationTask
from tests.support.api import Caller, caller, document, notification, problem
from tests.support.factories import make_api_key, make_partner
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db

RATE = 50
BURST, SHARE = 100, 10


class Time:
    """One clock for the database and the processes, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.seconds = clock.read(), 0.0
        monkeypatch.setattr(clock, "now", self.now)

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)

    def ticks(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def _key(rate: float = RATE) -> ApiKey:
    return api_keys.create(name="a", scopes=["notify:write"], rate_per_second=rate)[0]


def _admitted(process: AcceptLimiter, key: ApiKey, tries: int) -> int:
    return sum(process.admit(key) == 0 for _ in range(tries))


def test_what_two_seconds_earn_may_come_at_once_and_then_the_rate(time: Time) -> None:
    process, key = AcceptLimiter(ticks=time.ticks), _key()

    assert _admitted(process, key, 1000) == BURST
    for _ in range(5):
        time.seconds += 1
        assert _admitted(process, key, 1000) == RATE


def test_the_wait_that_is_told_is_enough_and_no_longer(time: Time) -> None:
    process, key = AcceptLimiter(ticks=time.ticks), _key(0.1)
    _admitted(process, key, 100)

    wait = process.admit(key)
    assert wait == pytest.approx(10)
    time.seconds += 4
    assert process.admit(key) == pytest.approx(6)
    time.seconds += 5.9
    assert process.admit(key) > 0
    time.seconds += 1.1
    assert process.admit(key) == 0


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_one_bucket(time: Time, processes: int) -> None:
    web = [AcceptLimiter(ticks=time.ticks) for _ in range(processes)]
    key, admitted = _key(), 0

    for _ in range(100):  # ten seconds
        admitted += sum(_admitted(process, key, 20) for process in web)
        time.seconds += 0.1

    assert BURST + RATE * 9.9 - processes * SHARE <= admitted <= BURST + RATE * 10 + processes * SHARE


def test_an_accept_costs_no_write_but_one_for_each_share(time: Time) -> None:
    process, key = AcceptLimiter(ticks=time.ticks), _key()
    process.admit(key)

    with CaptureQueriesContext(connection) as within:
        assert _admitted(process, key, SHARE - 1) == SHARE - 1
    with CaptureQueriesContext(connection) as whole:
        assert _admitted(process, key, BURST - SHARE) == BURST - SHARE
    with CaptureQueriesContext(connection) as refused:
        assert _admitted(process, key, 1000) == 0

    assert len(within) == 0
    written = [query["sql"] for query in whole if query["sql"].startswith("UPDATE")]
    assert len(written) == (BURST - SHARE) / SHARE
    # The one that finds the bucket empty; the other 999 are refused from memory.
    assert [query["sql"].split()[0] for query in refused if "SAVEPOINT" not in query["sql"]] == ["SELECT"]


def test_a_batch_is_let_in_whole_and_waited_for_afterwards(time: Time) -> None:
    process, other, key = AcceptLimiter(ticks=time.ticks), AcceptLimiter(ticks=time.ticks), _key()

    assert process.admit(key) == 0
    process.charge(key, 299)

    assert other.admit(key) > 0
    time.seconds += 3.9
    assert other.admit(key) > 0
    time.seconds += 0.2
    assert other.admit(key) == 0


def test_a_key_and_its_successors_share_one_bucket(time: Time) -> None:
    process, key = AcceptLimiter(ticks=time.ticks), _key()
    made = api_keys.rotate(key, overlap=timedelta(hours=1), now=clock.now())
    assert made is not None

    assert _admitted(process, key, 60) + _admitted(process, made[0], 1000) == BURST


def test_one_producer_does_not_drown_another(time: Time) -> None:
    process, loud, quiet = AcceptLimiter(ticks=time.ticks), _key(), _key()

    _admitted(process, loud, 1000)

    assert _admitted(process, quiet, BURST) == BURST


def test_a_raised_rate_takes_effect_within_a_second(time: Time) -> None:
    process, key = AcceptLimiter(ticks=time.ticks), _key(0.1)
    _admitted(process, key, 100)
    key.rate_per_second = 1000

    time.seconds += accept_limit.LONGEST_MEMORY_SECONDS + 0.01

    assert process.admit(key) == 0


def test_a_clock_that_goes_back_gives_nothing_away(time: Time) -> None:
    process, key = AcceptLimiter(ticks=time.ticks), _key()
    _admitted(process, key, 1000)

    time.began -= timedelta(hours=1)
    time.seconds += 2
    assert _admitted(process, key, 1000) == 0


@pytest.mark.django_db(transaction=True)
def test_threads_of_processes_at_the_same_instant_admit_no_more() -> None:
    key = _key(0.1)
    web = [AcceptLimiter() for _ in range(3)]

    counted = at_once(6, lambda number: _admitted(web[number % 3], key, 30))

    assert sum(counted) == accept_limit.MIN_BURST
    assert KeyAllowance.objects.get().tokens < 1


# --- By the API ---


def test_too_many_posts_are_429_with_retry_after_before_the_body_is_read(woken: list[list[str]]) -> None:
    partner = make_partner()
    plain = api_keys.create(name="a", scopes=["notify:write", "notify:read"], rate_per_second=0.1)[1]
    producer = Caller(plain)
    for _ in range(accept_limit.MIN_BURST):
        document(producer.notify(notification(partner)), 202)
    stored = NotificationTask.objects.count()

    refused = producer.notify(raw=b"{ no json at all")

    shown = problem(refused, 429, "rate_limited")
    assert 9 <= int(refused["Retry-After"]) <= 10
    assert f"Try again in {refused['Retry-After']} s" in shown["message"]
    assert NotificationTask.objects.count() == stored
    # Reading and others' posts go on.
    document(producer.get("/v1/notify"))
    document(caller().notify(notification(partner)), 202)


def test_a_key_without_a_rate_has_the_settings(settings: Any, woken: list[list[str]]) -> None:
    settings.NOTIFIER_ACCEPT_RATE_PER_SECOND = 1
    partner, producer = make_partner(), caller()

    codes = [producer.notify(notification(partner)).status_code for _ in range(accept_limit.MIN_BURST + 1)]

    assert codes == [202] * accept_limit.MIN_BURST + [429]


def test_who_has_no_scope_spends_nothing() -> None:
    key, plain = make_api_key(scopes=("notify:read",))

    problem(Caller(plain).notify({}), 403, "missing_scope")

    assert not KeyAllowance.objects.filter(pk=key.pk).exists()
