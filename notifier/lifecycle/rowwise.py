"""Writing or deleting many rows in one statement, by primary key alone: without model instances, for the hot paths."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from django.db import connection
from django.db.models import Field, Model

Row = Mapping[str, Any]
# Of attempts, whose responses' beginnings may be 20 kB each, and more once quoted: servers take statements of 16 MiB.
INSERTED_AT_ONCE = 100


def update_rows(model: type[Model], rows: Sequence[Row], *, held: tuple[str, Sequence[Any]] | None = None) -> int:
    """Set the named fields of the rows whose primary key is ``id``; every mapping has the same keys. Returns the rows matched.

    The rows should be locked by the caller, or be ``held``: a UUID's column, and for each row the value that it must have, else
    the row stays as it is. The new values are a derived table that drives the join, so that the table is reached by primary
    key only; a value that is the same in all of them is written once.
    """
    first = rows[0]
    own = [name for name in first if name != "id" and any(row[name] != first[name] for row in rows)]
    same = [name for name in first if name != "id" and name not in own]
    ready = _converters(model, first)
    must_hold = _alike(_converters(model, {held[0]: None})[held[0]], held[1]) if held else []
    quote = connection.ops.quote_name
    values, parameters = _derived(rows, own, ready, must_hold)
    table, key = quote(model._meta.db_table), quote(str(model._meta.pk.column))
    constants = [ready[name](first[name]) for name in same]
    if connection.vendor == "mysql":
        # Of text, both sides would have a collation of their own to insist on.
        binary = "" if connection.features.has_native_uuid_field else " COLLATE utf8mb4_bin"
        condition = f" WHERE t.{quote(held[0])} = v.held{binary}" if held else ""
        assignments = [f"t.{quote(name)} = v.{quote(name)}" for name in own] + [f"t.{quote(n)} = %s" for n in same]
        sql = f"UPDATE ({values}) v STRAIGHT_JOIN {table} t ON t.{key} = v.id SET {', '.join(assignments)}{condition}"  # noqa: S608 - names of columns only
        parameters += constants
    else:
        condition = f" AND {table}.{quote(held[0])} = v.held" if held else ""
        assignments = [f"{quote(name)} = v.{quote(name)}" for name in own] + [f"{quote(n)} = %s" for n in same]
        sql = f"UPDATE {table} SET {', '.join(assignments)} FROM ({values}) AS v WHERE {table}.{key} = v.id{condition}"  # noqa: S608 - names of columns only
        parameters = constants + parameters
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def insert_rows(model: type[Model], rows: Sequence[Row]) -> None:
    """Insert the rows, by column name; every mapping has the same keys, and names every column without a default. No bytes.

    Columns that are None in all rows are left to be NULL, and a value that is the same in all of them is made ready once.
    """
    first = {name: value for name, value in rows[0].items() if any(row[name] is not None for row in rows)}
    own = [name for name in first if any(row[name] != first[name] for row in rows)]
    same = [name for name in first if name not in own]
    ready = _converters(model, first)
    quote = connection.ops.quote_name
    columns = ", ".join(quote(name) for name in (*own, *same))
    head = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES "  # noqa: S608 - names of columns only
    with connection.cursor() as cursor:
        constants, further = _constants([ready[name](first[name]) for name in same])
        for start in range(0, len(rows), INSERTED_AT_ONCE):
            parameters: list[Any] = []
            written = []
            for row in rows[start : start + INSERTED_AT_ONCE]:
                own_marks = marks([ready[name](row[name]) for name in own], parameters)
                parameters += further
                written.append(f"({', '.join([*own_marks, *constants])})")
            cursor.execute(head + ", ".join(written), parameters)


def _constants(values: Sequence[Any]) -> tuple[list[str], Sequence[Any]]:
    """How they stand in each row of a statement, and the parameters that each row takes for them. Of an open connection."""
    if connection.vendor != "mysql":
        return ["%s"] * len(values), values
    # As the driver would write them for each row; the rest of the statement is formatted once more.
    return [connection.connection.literal(value).decode().replace("%", "%%") for value in values], ()


def _derived(
    rows: Sequence[Row],
    names: Sequence[str],
    ready: Mapping[str, Callable[[Any], Any]],
    held: Sequence[Any],
) -> tuple[str, list[Any]]:
    """A SELECT of the rows' keys, what they must hold, and these columns, and its parameters."""
    quote = connection.ops.quote_name
    parameters: list[Any] = []
    columns = ["id", *(["held"] if held else []), *(quote(name) for name in names)]
    selects: list[str] = []
    for index, row in enumerate(rows):
        row_marks = marks(
            [row["id"], *held[index : index + 1], *[ready[name](row[name]) for name in names]], parameters
        )
        if not selects:
            row_marks = [f"{mark} AS {column}" for mark, column in zip(row_marks, columns, strict=True)]
        selects.append("SELECT " + ", ".join(row_marks))
    return " UNION ALL ".join(selects), parameters


def marks(values: Iterable[Any], parameters: list[Any]) -> list[str]:
    """How values stand in the statement: numbers as they are, and NULL, for the driver takes longer for each than all else here,
    and others as parameters, which are appended.
    """
    found = []
    for value in values:
        if value is None:
            found.append("NULL")
        elif type(value) is int:
            found.append(str(value))
        elif type(value) is float and math.isfinite(value):
            text = repr(value)
            # With an exponent it is a DOUBLE, else a DECIMAL.
            found.append(text if "e" in text else f"{text}e0")
        else:
            found.append("%s")
            parameters.append(value)
    return found


def _converters(model: type[Model], names: Row) -> dict[str, Callable[[Any], Any]]:
    """By column, from a value in Python to what the database takes."""
    fields = {field.column: field for field in model._meta.concrete_fields}
    return {name: _plain if name == "id" else _converter(fields[name]) for name in names}


def _converter(field: Field[Any, Any]) -> Callable[[Any], Any]:
    # Asking the field for each value costs more than the rest of the write.
    match field.get_internal_type():
        case "DateTimeField":
            return connection.ops.adapt_datetimefield_value
        case "JSONField":
            return _json
        case "UUIDField":
            return stored_uuid
        case _:
            return _plain


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def stored_uuid(value: uuid.UUID | None) -> str | None:
    """As a UUIDField's column has it: with hyphens where its type is UUID, else without."""
    if value is None:
        return None
    return str(value) if connection.features.has_native_uuid_field else value.hex


def _alike(convert: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """Each value converted, those that are equal only once: the rows of one claim have one token."""
    converted = {value: convert(value) for value in set(values)}
    return [converted[value] for value in values]


def _plain(value: Any) -> Any:
    return value


def listed(keys: Iterable[int]) -> str:
    """Whole numbers for ``IN (…)``."""
    return ", ".join([str(int(key)) for key in keys])


def delete_rows(model: type[Model], keys: Sequence[int]) -> int:
    """Delete the rows with these primary keys, and nothing that hangs on them. Returns how many there were.

    A plain ``WHERE id IN (…)`` reads the whole of a small table, and waits for whoever has locked any row of it. The
    keys are a derived table that drives the join, as above.
    """
    if not keys:
        return 0
    table = connection.ops.quote_name(model._meta.db_table)
    if connection.vendor == "mysql":
        values = " UNION ALL ".join([f"SELECT {int(keys[0])} AS id", *(f"SELECT {int(key)}" for key in keys[1:])])
        sql = f"DELETE t FROM ({values}) v STRAIGHT_JOIN {table} t ON t.id = v.id"
    else:
        sql = f"DELETE FROM {table} WHERE id IN ({listed(keys)})"  # noqa: S608 - no text of a caller's
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.rowcount)
