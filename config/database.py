"""How long a process waits for MySQL. Web is impatient: somebody waits for its answer."""

from __future__ import annotations

import math
from typing import Any

MOST_CONNECT_SECONDS = 5
MOST_LOCK_SECONDS = 10
# A process that is stopped amid a transaction keeps its locks no longer than this. MariaDB's own setting: MySQL has no such
# limit, and reads over it as a comment.
STILL_SECONDS = 10


def patience(seconds: float) -> dict[str, Any]:
    """mysqlclient's options for a server that is taken for gone when a statement has no answer after so many seconds.

    A lock is waited for half as long, so that the server says what is the matter (and the transaction is tried again)
    before the connection is given up.
    """
    lock_seconds = max(1, min(MOST_LOCK_SECONDS, int(seconds / 2)))
    return {
        "connect_timeout": min(MOST_CONNECT_SECONDS, math.ceil(seconds / 2)),
        "read_timeout": math.ceil(seconds),
        "write_timeout": math.ceil(seconds),
        "init_command": (
            f"SET time_zone='+00:00', innodb_lock_wait_timeout={lock_seconds}, sql_mode='STRICT_ALL_TABLES' "
            f"/*M!100300 , idle_transaction_timeout={STILL_SECONDS} */"
        ),
    }
