"""How fast one worker empties a backlog. The partner simulator, MariaDB and the worker share the machine's cores."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.processes import cpu_seconds
from benchmarks.rig import LOOPBACK, Rig, rig, simulator
from tests.support.waiting import wait_until

PARTNERS = 20
CASES = {"answers at once": "/ok", "takes 300 ms": "/slow/300"}


def run(rows: int) -> None:
    rows = rows // PARTNERS * PARTNERS
    with rig() as rigged, simulator(rigged.folder) as partner:
        rigged.system.apply_partners(**{f"partner-{number}": LOOPBACK for number in range(PARTNERS)})
        rigged.system.start_all()
        template = rigged.system.client.notify(
            partner_id="partner-0", target_url=partner.url("/ok"), body_text="x" * 1024
        )
        print(f"{rows} notifications of 1 KiB to {PARTNERS} partners, one worker process, {os.cpu_count()} cores")
        print(f"{'partner':18}{'deliveries/s':>14}{'worker CPU each':>18}")
        for case, path in CASES.items():
            rate, cpu = _deliver(rigged, template, partner.url(path), rows)
            print(f"{case:18}{rate:>14.0f}{cpu:>15.2f} ms", flush=True)


def _deliver(rigged: Rig, template: str, url: str, rows: int) -> tuple[float, float]:
    """(deliveries a second, worker's CPU milliseconds for each) of one backlog."""
    worker = rigged.system.processes["worker"]
    worker.send_signal(signal.SIGSTOP)
    rigged.fill(template, url, each=rows // PARTNERS, partners="partner-%")
    cpu, begun = cpu_seconds(worker.pid), time.monotonic()
    worker.send_signal(signal.SIGCONT)

    def empty() -> bool:
        return not rigged.execute("SELECT 1 FROM notifier_notificationtask WHERE outcome IS NULL LIMIT 1")

    wait_until(empty, seconds=600, what="the backlog to be empty")
    return rows / (time.monotonic() - begun), (cpu_seconds(worker.pid) - cpu) / rows * 1000
