"""config.mysql: what transactions and statements are spared, and that nothing else changed."""

from __future__ import annotations

import sys

import pytest
from django.db import connection, transaction

from notifier.models import Partner
from tests.support.factories import is_mysql, make_partner
from tests.support.threads import Other

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _of_mysql() -> None:
    if not is_mysql():
        pytest.skip("MySQL's backend")


def _autocommit_set() -> int:
    """How often this session has been told to (not to) commit by itself."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Com_set_option'")
        return int(cursor.fetchone()[1])


def _name(partner: Partner) -> str:
    """As another connection sees it."""
    return Other(lambda: str(Partner.objects.get(pk=partner.pk).name)).ended(10)


def test_transactions_one_after_the_other_are_asked_for_once() -> None:
    partner = make_partner()
    before = _autocommit_set()

    for number in range(20):
        with transaction.atomic():
            Partner.objects.filter(pk=partner.pk).update(name=str(number))
    assert _name(partner) == "19"

    # Once for all of them, and once back for the statement that asks.
    assert _autocommit_set() - before == 2


def test_a_statement_after_a_transaction_is_committed_by_itself() -> None:
    partner = make_partner()
    with transaction.atomic():
        Partner.objects.filter(pk=partner.pk).update(name="within")

    Partner.objects.filter(pk=partner.pk).update(name="after")

    assert _name(partner) == "after"


def test_what_is_undone_leaves_nothing_and_holds_nothing() -> None:
    partner = make_partner(name="before")
    with transaction.atomic():
        Partner.objects.filter(pk=partner.pk).update(name="undone")
        transaction.set_rollback(True)

    Other(lambda: Partner.objects.filter(pk=partner.pk).update(name="another's")).ended(10)

    assert _name(partner) == "another's"


def test_between_transactions_no_transaction_is_open() -> None:
    partner = make_partner()
    with transaction.atomic():
        Partner.objects.filter(pk=partner.pk).update(name="x")
        with connection.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            (ours,) = cursor.fetchone()

    def open_ones() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s", [ours])
            return int(cursor.fetchone()[0])

    assert Other(open_ones).ended(10) == 0


def _asked(statement: str) -> set[str]:
    """What of this the driver's library was asked for: each gives the interpreter to another thread."""
    asked = set()

    def called(_: object, event: str, function: object) -> None:
        if event == "c_call":
            asked.add(getattr(function, "__name__", ""))

    with connection.cursor() as cursor:
        sys.setprofile(called)
        try:
            cursor.execute(statement)
        finally:
            sys.setprofile(None)
    return asked & {"query", "store_result", "next_result"}


def test_a_statement_asks_for_no_more_than_it_has() -> None:
    assert _asked("DO 1") == {"query"}
    assert _asked("SELECT 1") == {"query", "store_result"}


def test_results_that_nobody_fetches_are_in_nobodys_way() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT 2; SELECT 3")
        assert cursor.fetchall() == ((1,),)

        cursor.execute("SELECT 4")

        assert cursor.fetchall() == ((4,),)
        cursor.execute("SELECT 5; SELECT 6")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 7")
        assert cursor.fetchall() == ((7,),)


def test_a_statement_without_rows_leaves_none_of_the_one_before() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        cursor.execute("DO 1")

        assert (cursor.description, cursor.fetchall()) == (None, ())
