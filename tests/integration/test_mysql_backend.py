"""config.mysql: transactions without the round trips around them, and nothing else changed."""

from __future__ import annotations

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
