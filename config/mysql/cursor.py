"""mysqlclient's cursor, which gives the interpreter away only where it waits for the server."""

from __future__ import annotations

from typing import Any

from MySQLdb.cursors import Cursor as DriverCursor


class Cursor(DriverCursor):  # type: ignore[misc]  # mysqlclient has no types
    """The driver asks its library for a result where a statement has none, and before and after each statement for one
    more, and lets other threads run meanwhile: in a busy process each of that is as long as a turn of theirs. The library
    knows both without the server.
    """

    def _get_result(self) -> Any:
        return super()._get_result() if self._get_db().field_count() else None

    def _discard(self) -> None:
        connection = self.connection
        if connection is None or connection.more_results():
            super()._discard()
            return
        self.description = self.description_flags = None
        self._rows = self._result = self.rownumber = None
