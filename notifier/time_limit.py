"""A bound on how long a read may take, where what people ask for cannot be bounded by an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection

# MariaDB's and MySQL's numbers for a statement that was ended for its time.
ENDED = (1969, 3024)


class TooSlow(Exception):
    """The database was told to end the read, and did; nothing was changed."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Reads in here that take longer each end in ``TooSlow``. SQLite has no such bound: there nothing happens."""
    if connection.vendor != "mysql":
        yield
        return
    mariadb = getattr(connection, "mysql_is_mariadb", False)
    name, value = ("max_statement_time", seconds) if mariadb else ("max_execution_time", int(seconds * 1000))
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name} = %s", [value])
    try:
        yield
    except OperationalError as error:
        if error.args and error.args[0] in ENDED:
            raise TooSlow from error
        raise
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {name} = DEFAULT")
