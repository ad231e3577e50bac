"""What a step costs beside a million waiting rows and a million finished ones, against a thousand rows."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks.ground import Ground
from benchmarks.receiver import address
from benchmarks.rows import FRESH_TASK, TASKS, UNTRIED, copy_rows
from benchmarks.sides import connect
from tests.support.ledger import REPOSITORY
from tests.support.system import System

SMALL = 1000
# One of them dead; the others get turns.
PARTNERS = 101
CHUNK = 100_000
STEPS = {
    "claim": ("claim of 100 rows, 20 partners", 30),
    "sweep": ("sweep", 10),
    "accept": ("accept, single post, in process", 60),
    "page": ("list page of 50", 30),
    "page_filtered": ("list page of 50, partner and status", 30),
}
DAY_MS = 86_400_000


class Probed:
    """A database of the service and a probe on it."""

    def __init__(self, ground: Ground, name: str) -> None:
        self.database = connect(ground.mariadb, name)
        self.system = System(
            ground.folder / name,
            database_url=ground.mariadb.url(name),
            broker_url=ground.valkey.url.rpartition("/")[0] + "/3",
        )
        allowed = {"allow_hosts": [f"{address(0)}:*"], "allow_private_cidrs": ["127.0.0.0/8"]}
        self.system.apply_partners(**{f"partner-{number:05}": allowed for number in range(PARTNERS)})
        self.url = f"http://{address(0)}:{ground.receiver.port}/0"
        # The template is a row that the API made; nobody delivers here.
        self.copy_template(ground)
        self.probe: subprocess.Popen[str] | None = None

    def execute(self, sql: str) -> list[Any]:
        with self.database.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def copy_template(self, ground: Ground) -> None:
        """The template of the running service, without its partner, which has another key here."""
        self.execute(f"CREATE TABLE bench_template LIKE {ground.ours.database_name}.bench_template")
        template = f"{ground.ours.database_name}.bench_template"
        copy_rows(self.database, "bench_template", {}, template=template, source="(SELECT 1) once", where="TRUE")

    def fill(self, waiting: int, finished: int, tick: Callable[[str], None]) -> None:
        """Half of the waiting rows belong to the dead partner, and half of each partner's are not due yet."""
        keys = [key for (key,) in self.execute("SELECT id FROM notifier_partner ORDER BY partner_id")]
        dead, others = keys[0], keys[1:]
        self.execute(
            "UPDATE notifier_partnerstate SET circuit_state = 'open', circuit_since = UTC_TIMESTAMP(6), "
            f"circuit_probe_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY WHERE partner_id = {dead}"
        )
        self.execute("SET unique_checks = 0, foreign_key_checks = 0")
        anyone = f"ELT(n.seq DIV 2 MOD {len(others)} + 1, {', '.join(map(str, others))})"
        due = "IF(n.seq MOD 2, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL 1 DAY)"
        dead_share = waiting // 2 if finished else 0
        end = {"finished_at": "UTC_TIMESTAMP(6)", "status": "'succeeded'", "next_attempt_at": "NULL"}
        base = 0
        for rows, changes in (
            (finished, {"partner_id": anyone, **end}),
            (dead_share, {"partner_id": str(dead), "next_attempt_at": due}),
            (waiting - dead_share, {"partner_id": anyone, "next_attempt_at": due}),
        ):
            for start in range(base, base + rows, CHUNK):
                tick(f"scale: row {start:,}")
                self._insert(start, min(start + CHUNK, base + rows), changes)
            base += rows
        self._insert_attempts()
        self.execute("SET unique_checks = 1, foreign_key_checks = 1")
        self.execute(f"ANALYZE TABLE {TASKS}, notifier_notificationattempt")

    def _insert(self, start: int, end: int, changes: dict[str, str]) -> None:
        first_ms = int(datetime.now(UTC).timestamp() * 1000) - DAY_MS  # noqa: TID251 - rows of yesterday
        # UUIDv7 (RFC 9562, section 5.7), in the order of the rows, as accepting makes them.
        task_id = f"LOWER(CONCAT(LPAD(HEX({first_ms} + n.seq), 12, '0'), '7', LPAD(HEX(n.seq MOD 4096), 3, '0'), '8', LPAD(HEX(n.seq), 15, '0')))"
        copy_rows(
            self.database, TASKS, {**UNTRIED, **FRESH_TASK, "task_id": task_id, **changes},
            template="bench_template", source=f"seq_{start}_to_{end - 1} n", where="TRUE",
        )  # fmt: skip

    def _insert_attempts(self) -> None:
        self.execute(
            "INSERT INTO notifier_notificationattempt (task_id, attempt_no, status, http_status_code, latency_ms, "
            "response_headers, response_body, created_at) "
            f"SELECT id, 1, 'succeeded', 200, 1.5, '[]', '{{}}', created_at FROM {TASKS} WHERE status = 'succeeded'"
        )

    def start_probe(self) -> None:
        self.probe = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probe", self.system.client.key, self.url],
            cwd=REPOSITORY, env=self.system.environment | {"DJANGO_SETTINGS_MODULE": "config.settings", "NOTIFIER_LOG_LEVEL": "WARNING"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.probe.stdout is not None
        if self.probe.stdout.readline().strip() != "ready":
            raise SystemExit("the probe did not start")

    def ask(self, step: str, times: int) -> float:
        """The median milliseconds of a step."""
        assert self.probe is not None
        assert self.probe.stdin is not None
        assert self.probe.stdout is not None
        self.probe.stdin.write(f"{step} {times}\n")
        self.probe.stdin.flush()
        line = self.probe.stdout.readline()
        if not line:
            raise SystemExit(f"the probe ended at {step}")
        took: list[float] = json.loads(line)
        return statistics.median(took)

    def stop(self) -> None:
        if self.probe is not None:
            self.probe.send_signal(signal.SIGTERM)
            self.probe.wait(10)
        self.database.close()


def run(ground: Ground, tick: Callable[[str], None]) -> None:
    waiting = ground.plan.waiting
    figures = {
        step: ground.results.figure(
            f"scale_{step}", f"{title}, at {waiting:,} waiting + {waiting:,} finished", "ms",
            goal="≤ 1.5 ×", against=f"at {SMALL:,}",
        )
        for step, (title, _) in STEPS.items()
    }  # fmt: skip
    small, big = Probed(ground, "scale_small"), Probed(ground, "scale_big")
    try:
        with ground.ours.frozen(), ground.recipe.frozen():
            small.fill(SMALL, 0, lambda what: None)
            curve: dict[str, list[float]] = {"rows": [SMALL]}
            big.fill(waiting, waiting, tick)
            for probed in (small, big):
                probed.start_probe()
                for step in STEPS:
                    probed.ask(step, 5)
            for number in range(ground.plan.rounds):
                tick(f"scale {number + 1}")
                for step, (_, times) in STEPS.items():
                    figures[step].recipe.append(small.ask(step, times))
                    figures[step].ours.append(big.ask(step, times))
            curve["rows"].append(2 * waiting)
            for step, figure in figures.items():
                curve[step] = [statistics.median(figure.recipe), statistics.median(figure.ours)]
            ground.results.curves["scale"] = curve
    finally:
        small.stop()
        big.stop()
