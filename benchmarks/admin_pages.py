"""How long the admin's pages take at a million tasks, with counts as ten million attempts of 500 partners leave them."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import MySQLdb

from tests.support.servers import MariaDB

ROUNDS = 9
PARTNERS = 500
PAGES = {
    "dashboard, 1 hour": "/admin/?window=1h",
    "dashboard, 24 hours": "/admin/?window=24h",
    "dashboard, 7 days": "/admin/?window=7d",
    "tasks": "/admin/notifier/notificationtask/",
    "tasks, dead": "/admin/notifier/notificationtask/?status__exact=dead",
    "tasks, error code": "/admin/notifier/notificationtask/?error=http_503",
    "tasks, partner and status": "/admin/notifier/notificationtask/?partner=p7&status__exact=dead",
    "tasks, rare address": "/admin/notifier/notificationtask/?q=https://h.example.com/77777",
    "tasks, frequent address": "/admin/notifier/notificationtask/?q=https://h.example.com/",
    "partners": "/admin/notifier/partner/",
}
# status, dead_reason, waits, finished, last error: by the last digit of the row's number.
KINDS = """CASE WHEN seq % 10 < 5 THEN {0} WHEN seq % 10 < 8 THEN {1} ELSE {2} END"""


def run(rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="notifier-pages-") as name:
        server = MariaDB(Path(name))
        server.start()
        try:
            with MySQLdb.connect(host="127.0.0.1", port=server.port, user="root").cursor() as cursor:
                cursor.execute("CREATE DATABASE notifier CHARACTER SET utf8mb4")
            os.environ |= {
                "DATABASE_URL": server.url("notifier"), "DJANGO_SETTINGS_MODULE": "config.settings", "NOTIFIER_DATA_DIR": name,
                "NOTIFIER_SECRET_KEY": "only-for-this-measurement-" + "x" * 40, "NOTIFIER_ALLOWED_HOSTS": "testserver",
            }  # fmt: skip
            _measure(rows)
        finally:
            server.stop()


def _measure(rows: int) -> None:
    import django  # noqa: PLC0415 - after the environment above, which the settings are read from

    django.setup()
    from django.contrib.auth.models import User  # noqa: PLC0415 - as above
    from django.core.management import call_command  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    _fill(rows)
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    print(f"{rows:,} tasks, {PARTNERS} partners, {ROUNDS} rounds")
    print(f"{'page':28}{'median':>10}{'slowest':>10}")
    for page, address in PAGES.items():
        client.get(address)
        took = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            assert client.get(address).status_code == 200
            took.append((time.perf_counter() - begun) * 1000)
        print(f"{page:28}{statistics.median(took):>7.0f} ms{max(took):>7.0f} ms", flush=True)


def _fill(rows: int) -> None:
    from django.db import connection  # noqa: PLC0415 - as above

    from notifier.models import Partner  # noqa: PLC0415
    from notifier.models.rollup import LATENCY_COLUMNS  # noqa: PLC0415

    for number in range(PARTNERS):
        Partner.objects.create(partner_id=f"p{number}", allow_hosts=["h.example.com"])
    first = Partner.objects.order_by("pk").values_list("pk", flat=True)[0]
    now = "UTC_TIMESTAMP(6)"
    task_id = "CONCAT(LPAD(HEX(1764000000000 + seq), 12, '0'), '70008000', LPAD(HEX(seq), 12, '0'))"
    columns = {
        "task_id": task_id, "partner_id": f"{first} + seq MOD {PARTNERS}", "target_url": "CONCAT('https://h.example.com/', seq)",
        "http_method": "'POST'", "headers": "'{}'", "metadata": "'{}'", "fingerprint": "REPEAT('0', 64)", "`rank`": "4",
        "status": KINDS.format("'succeeded'", "'pending'", "'dead'"), "dead_reason": KINDS.format("NULL", "NULL", "'exhausted'"),
        "next_attempt_at": KINDS.format("NULL", now, "NULL"), "finished_at": KINDS.format(now, "NULL", now),
        "last_error_code": KINDS.format("NULL", "NULL", "IF(seq % 100 = 8, 'http_503', 'connect_timeout')"),
        "max_attempts": "10", "body_sealed": "0", "attempt_count": "1", "attempts_before_requeue": "0", "attempts_excused": "0",
        "created_at": now, "updated_at": now,
    }  # fmt: skip
    counts = {"succeeded": "90 + seq % 7", "failed": "seq % 5", "unknown": "0"} | dict.fromkeys(
        LATENCY_COLUMNS, "seq % 9"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO notifier_notificationtask ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM seq_1_to_{rows}"
        )
        for span, steps in ((60, 180), (3600, 32 * 24)):
            start = f"FROM_UNIXTIME((UNIX_TIMESTAMP() DIV {span} - seq DIV {PARTNERS + 1}) * {span})"
            key = f"IF(seq MOD {PARTNERS + 1} = 0, 0, {first} + seq MOD {PARTNERS + 1} - 1)"
            cursor.execute(
                f"INSERT INTO notifier_partnerrollup (span, start, partner_key, {', '.join(counts)}) "
                f"SELECT {span}, {start}, {key}, {', '.join(counts.values())} FROM seq_1_to_{steps * (PARTNERS + 1)}"
            )
            cursor.execute(
                f"INSERT INTO notifier_errorrollup (span, start, error_code, failed) SELECT {span}, "
                f"FROM_UNIXTIME((UNIX_TIMESTAMP() DIV {span} - seq DIV 20) * {span}), CONCAT('http_', 500 + seq MOD 20), seq % 40 "
                f"FROM seq_1_to_{steps * 20}"
            )
        cursor.execute("ANALYZE TABLE notifier_notificationtask, notifier_partnerrollup, notifier_errorrollup")
        cursor.fetchall()
