"""Column types that MySQL needs told."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class ExactCharField(models.CharField):  # type: ignore[type-arg]  # django-stubs' field generics do not exist at run time
    """Text that is equal only when every byte is: ``Abc``, ``abc`` and ``abc `` are three values.

    MySQL's default collations ignore case, and its ``_bin`` ones ignore trailing blanks unless they are NO PAD.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "mysql":
            is_mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return parameters
