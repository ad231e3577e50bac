"""The audit trail's triggers refuse what Django does between transactional tests: to empty every table by DELETE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.mysql.base import DatabaseWrapper as MySQL
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from notifier.audit_guard import TABLE, statement


@pytest.fixture(scope="session", autouse=True)
def _emptying_tables_passes_the_triggers() -> Iterator[None]:
    """MySQL's TRUNCATE fires none. SQLite has none, so there the table is emptied behind a trigger that is put back."""
    with pytest.MonkeyPatch.context() as patch:
        for operations in (MySQL.ops_class, SQLite.ops_class):
            patch.setattr(operations, "sql_flush", _passing(operations.sql_flush))
        yield


def _passing(sql_flush: Any) -> Any:
    def flush(self: BaseDatabaseOperations, *args: Any, **kwargs: Any) -> list[str]:
        passed: list[str] = []
        for sql in sql_flush(self, *args, **kwargs):
            if not sql.startswith("DELETE") or TABLE not in sql:
                passed.append(sql)
            elif isinstance(self, MySQL.ops_class):
                passed.append(f"TRUNCATE TABLE {TABLE};")
            else:
                passed += ["DROP TRIGGER IF EXISTS audit_no_delete;", sql, statement("sqlite", "audit_no_delete")]
        return passed

    return flush
