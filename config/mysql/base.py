"""Django's MySQL backend, with a round trip for each transaction where it has three.

Django asks the server for a transaction by ``SET autocommit=0`` and leaves it, after COMMIT, by ``SET autocommit=1``. A
claim or a record is five short statements, and each costs a thread of a busy worker its turn of the interpreter.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.mysql import base

from config.mysql.cursor import Cursor


class DatabaseWrapper(base.DatabaseWrapper):
    """Goes back to autocommit when a statement outside of a transaction needs it, and not before.

    Between a COMMIT and the next statement the server has no transaction open, whatever its autocommit is (MariaDB and
    MySQL begin one with the first statement that reads or writes a table), so nothing is locked and no snapshot is held.

    It happens where a cursor is made. So a cursor that was made outside of a transaction must not be used again after one, and
    ``set_autocommit(True)`` commits nothing by itself.
    """

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            super()._set_autocommit(autocommit)  # type: ignore[misc]  # the stub does not know it

    def create_cursor(self, name: str | None = None) -> Any:
        # mysqlclient keeps the server's answer, and asks only where it is another.
        if self.autocommit:
            super()._set_autocommit(True)  # type: ignore[misc]  # the stub does not know it
        return base.CursorWrapper(self.connection.cursor(Cursor))
