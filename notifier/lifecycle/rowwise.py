"""Updating many rows, each to values of its own, or deleting them: in one statement, and by primary key alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def update_rows(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> int:
    """Set the named fields of the rows whose primary key is ``id``; every mapping has the same keys. Returns the rows matched.

    The rows should be locked by the caller. The new values are a derived table that drives the join, so that the
    table is reached by primary key only.
    """
    names = [name for name in rows[0] if name != "id"]
    fields = [model._meta.get_field(name) for name in names]
    quote = connection.ops.quote_name
    parameters: list[Any] = []
    for row in rows:
        parameters.append(row["id"])
        parameters += [field.get_db_prep_save(row[name], connection) for name, field in zip(names, fields, strict=True)]  # type: ignore[union-attr]  # concrete columns only
    first = "SELECT %s AS id, " + ", ".join(f"%s AS {quote(name)}" for name in names)
    other = "SELECT " + ", ".join(["%s"] * (len(names) + 1))
    values = " UNION ALL ".join([first] + [other] * (len(rows) - 1))
    table, key = quote(model._meta.db_table), quote(str(model._meta.pk.column))
    if connection.vendor == "mysql":
        assignments = ", ".join(f"t.{quote(name)} = v.{quote(name)}" for name in names)
        sql = f"UPDATE ({values}) v STRAIGHT_JOIN {table} t ON t.{key} = v.id SET {assignments}"  # noqa: S608 - names of columns only
    else:
        assignments = ", ".join(f"{quote(name)} = v.{quote(name)}" for name in names)
        sql = f"UPDATE {table} SET {assignments} FROM ({values}) AS v WHERE {table}.{key} = v.id"  # noqa: S608 - names of columns only
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def delete_rows(model: type[Model], keys: Sequence[int]) -> int:
    """Delete the rows with these primary keys, and nothing that hangs on them. Returns how many there were.

    A plain ``WHERE id IN (…)`` reads the whole of a small table, and waits for whoever has locked any row of it. The
    keys are a derived table that drives the join, as above.
    """
    if not keys:
        return 0
    table = connection.ops.quote_name(model._meta.db_table)
    if connection.vendor == "mysql":
        values = " UNION ALL ".join(["SELECT %s AS id"] + ["SELECT %s"] * (len(keys) - 1))
        sql = f"DELETE t FROM ({values}) v STRAIGHT_JOIN {table} t ON t.id = v.id"
    else:
        sql = f"DELETE FROM {table} WHERE id IN ({', '.join(['%s'] * len(keys))})"  # noqa: S608 - no text of a caller's
    with connection.cursor() as cursor:
        cursor.execute(sql, keys)
        return int(cursor.rowcount)
