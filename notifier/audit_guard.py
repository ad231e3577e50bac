"""Triggers by which the database itself refuses to change or delete an entry of the audit trail."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError

TABLE = "notifier_auditentry"
SENTENCE = "The audit trail is append-only."
EVENTS = {"audit_no_update": "UPDATE", "audit_no_delete": "DELETE"}
# TRIGGER denied; SUPER denied; with a binary log, only with log_bin_trust_function_creators.
NOT_PERMITTED = (1142, 1227, 1419)


def install(connection: Any) -> bool:
    """Make the triggers that are absent; False where the database's account may not, and then nothing is raised.

    Whoever remakes the table (SQLite does for most alterations) calls this again.
    """
    present = installed(connection)
    with connection.cursor() as cursor:
        for name in EVENTS:
            if name in present:
                continue
            try:
                cursor.execute(statement(connection.vendor, name))
            except DatabaseError as error:
                if not error.args or error.args[0] not in NOT_PERMITTED:
                    raise
                return False
    return True


def statement(vendor: str, name: str) -> str:
    """The SQL that makes one of the triggers."""
    body = (
        f"BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
        if vendor == "sqlite"
        else f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{SENTENCE}'"
    )
    return f"CREATE TRIGGER {name} BEFORE {EVENTS[name]} ON {TABLE} FOR EACH ROW {body}"


def installed(connection: Any) -> set[str]:
    """Which of the triggers are there."""
    sql = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {name for (name,) in cursor.fetchall()} & set(EVENTS)
