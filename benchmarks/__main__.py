"""`python -m benchmarks [--rows N]`: how fast one worker empties a backlog, on private servers of this machine.

A first figure to compare changes by, side by side in one run; not a promise. The partner simulator, MariaDB and the worker
share the machine's cores.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

import MySQLdb

from tests.support.ledger import PartnerSimulator
from tests.support.servers import MariaDB
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

PARTNERS = 20
CASES = {"answers at once": "/ok", "takes 300 ms": "/slow/300"}
# Multiplies the one row that was accepted through the API.
COPY = """
INSERT INTO notifier_notificationtask (task_id, partner_id, target_url, http_method, headers, body, body_format,
  content_type, metadata, fingerprint, status, `rank`, next_attempt_at, expires_at, max_attempts, attempt_count,
  attempts_before_requeue, created_at, updated_at)
SELECT UUID(), p.id, %s, t.http_method, t.headers, t.body, t.body_format, t.content_type, t.metadata, t.fingerprint,
  'pending', t.`rank`, UTC_TIMESTAMP(6), t.expires_at, t.max_attempts, 0, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)
FROM notifier_notificationtask t, notifier_partner p, seq_1_to_{each} s WHERE t.task_id = %s
"""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def deliver(
    system: FullSystem, database: MySQLdb.Connection, template: str, url: str, rows: int
) -> tuple[float, float]:
    """(deliveries a second, worker's CPU milliseconds for each) of one backlog."""
    worker = system.processes["worker"]
    worker.send_signal(signal.SIGSTOP)
    with database.cursor() as cursor:
        cursor.execute(COPY.format(each=rows // PARTNERS), [url, template.replace("-", "")])
        database.commit()
        cpu, begun = cpu_seconds(worker.pid), time.monotonic()
        worker.send_signal(signal.SIGCONT)

        def left() -> bool:
            cursor.execute("SELECT 1 FROM notifier_notificationtask WHERE finished_at IS NULL LIMIT 1")
            database.commit()
            return cursor.fetchone() is None

        wait_until(left, seconds=600, what="the backlog to be empty")
    return rows / (time.monotonic() - begun), (cpu_seconds(worker.pid) - cpu) / rows * 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows // PARTNERS * PARTNERS
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        folder = Path(name)
        mariadb = MariaDB(folder)
        mariadb.start()
        partner = PartnerSimulator(folder, ledger=False)
        system = FullSystem(folder, mariadb.url("notifier"))
        try:
            limits = {"allow_hosts": ["127.0.0.1"], "allow_private_cidrs": ["127.0.0.0/8"]}
            system.apply_partners(**{f"partner-{number}": limits for number in range(PARTNERS)})
            system.start_all()
            body = "x" * 1024
            template = system.client.notify(partner_id="partner-0", target_url=partner.url("/ok"), body_text=body)
            database = MySQLdb.connect(host="127.0.0.1", port=mariadb.port, user="root", database=system.database)
            print(f"{rows} notifications of 1 KiB to {PARTNERS} partners, one worker process, {os.cpu_count()} cores")
            print(f"{'partner':18}{'deliveries/s':>14}{'worker CPU each':>18}")
            for case, path in CASES.items():
                rate, cpu = deliver(system, database, template, partner.url(path), rows)
                print(f"{case:18}{rate:>14.0f}{cpu:>15.2f} ms", flush=True)
            database.close()
        finally:
            system.stop()
            partner.stop()
            mariadb.stop()


if __name__ == "__main__":
    main()
