"""Row locks as InnoDB tells of them. It renews what it tells only when that was not read for 100 ms."""

from __future__ import annotations

from django.db import connection


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
        return bool(cursor.fetchone()[0])


def locked_rows() -> int:
    """How many records of indexes this connection's transaction has locked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT trx_rows_locked FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()"
        )
        return int(cursor.fetchone()[0])
