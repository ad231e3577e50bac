"""Rows whose handling raises, among others, in front of a real worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import scenarios
from tests.support.ledger import PartnerSimulator
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

# Partner columns with data that no file and no form could have brought there.
BAD_PARTNERS = {
    "bad-condition": ("success_condition", "status =="),
    "bad-schedule": ("retry_schedule", '["soon"]'),
    "bad-statuses": ("permanent_statuses", "5"),
    "bad-headers": ("headers", "[1]"),
}
# Columns of a task likewise.
BAD_TASKS = {
    "broken seal": ("headers", json.dumps({"Authorization": {"sealed": "nothing that we sealed"}})),
    "no text": ("headers", json.dumps({"X-Name": 7})),
    "no mapping": ("headers", "[1]"),
    "two lines": ("headers", json.dumps({"X-Name": "one\r\nX-Other: two"})),
    "no address": ("target_url", "http://["),
    "bad condition": ("success_condition", "status =="),
    # Refused by MariaDB's own check: the database will not let the row be changed by anyone.
    "broken JSON": ("headers", '{"X-Name": "no end'),
}


@pytest.fixture
def sql(system: FullSystem) -> Iterator[Any]:
    connection = system.sql()
    with connection.cursor() as cursor:
        cursor.execute("SET check_constraint_checks = 0")
        yield cursor
    connection.close()


def _break(sql: Any, table: str, column: str, value: str, key: str, key_column: str) -> None:
    assert sql.execute(f"UPDATE {table} SET {column} = %s WHERE {key_column} = %s", [value, key]) == 1


def test_each_is_given_up_after_three_tries_logged_once_and_keeps_nobody_waiting(
    system: FullSystem, partner: PartnerSimulator, sql: Any
) -> None:
    names = ["good", *BAD_PARTNERS]
    system.apply_partners(**dict.fromkeys(names, scenarios.PARTNER))
    # Until all of them are there, and broken.
    system.worker().send_signal(signal.SIGSTOP)
    url = partner.url("/status/500")
    bad = {name: system.client.notify(partner_id=name, target_url=url) for name in BAD_PARTNERS}
    good = [system.client.notify(partner_id="good", target_url=partner.url("/ok")) for _ in range(10)]
    bad |= {name: system.client.notify(partner_id="good", target_url=partner.url("/ok")) for name in BAD_TASKS}
    good += [system.client.notify(partner_id="good", target_url=partner.url("/ok")) for _ in range(10)]

    for name, (column, value) in BAD_PARTNERS.items():
        _break(sql, "notifier_partner", column, value, name, "partner_id")
    for name, (column, value) in BAD_TASKS.items():
        _break(sql, "notifier_notificationtask", column, value, bad[name], "task_id")
    system.worker().send_signal(signal.SIGCONT)

    delivered = scenarios.ended(system.client, good, seconds=5)
    assert {task["status"] for task in delivered.values()} == {"succeeded"}
    _given_up(sql, bad)
    assert system.worker().poll() is None
    log = system.log("worker")
    # Beside the line of each attempt.
    said = [line for line in log.splitlines() if "cannot be handled" in line]
    assert {name: sum(task_id in line for line in said) for name, task_id in bad.items()} == dict.fromkeys(bad, 1)
    assert log.count("cannot be handled") == len(bad)
    assert partner.counts().keys() >= set(good)


def _given_up(sql: Any, bad: dict[str, str]) -> None:
    def rows() -> dict[str, tuple[Any, ...]]:
        found = {}
        for name, task_id in bad.items():
            sql.execute(
                "SELECT status, dead_reason, attempt_count, last_error_code, (SELECT COUNT(*) FROM"
                " notifier_notificationattempt a WHERE a.task_id = t.id AND a.error_code = 'internal_error')"
                " FROM notifier_notificationtask t WHERE task_id = %s",
                [task_id],
            )
            found[name] = sql.fetchone()
        return found

    expected = dict.fromkeys(bad, ("dead", "rejected", 3, "internal_error", 3))
    expected["broken JSON"] = ("dead", "rejected", 0, "internal_error", 0)
    wait_until(lambda: all(row[0] == "dead" for row in rows().values()), seconds=15, what="them to be given up")
    assert rows() == expected
