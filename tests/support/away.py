"""A database that cannot be reached, as far as this connection can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from django.db.models import Model


@contextmanager
def away(model: type[Model]) -> Iterator[None]:
    """Each statement that names the model's table loses the connection instead."""

    def lost(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if model._meta.db_table in sql:
            raise OperationalError(2013, "Lost connection to server during query")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(lost):
        yield
