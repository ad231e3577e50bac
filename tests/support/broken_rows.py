"""Values in the database that no code of ours would write there, as a hand with SQL might."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import Model

from tests.support.factories import is_mysql


@contextmanager
def _unchecked() -> Iterator[None]:
    """Without CHECK constraints, such as that of a JSON column, and without the strict mode."""
    off, on = (
        ("SET check_constraint_checks=0, sql_mode=''", "SET check_constraint_checks=1, sql_mode='STRICT_ALL_TABLES'")
        if is_mysql()
        else ("PRAGMA ignore_check_constraints=1", "PRAGMA ignore_check_constraints=0")
    )
    with connection.cursor() as cursor:
        cursor.execute(off)
        yield
        cursor.execute(on)


def write(row: Model, column: str, value: Any) -> None:
    """Write the raw value, whatever it is."""
    with _unchecked(), connection.cursor() as cursor:
        table = connection.ops.quote_name(row._meta.db_table)
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [value, row.pk])
