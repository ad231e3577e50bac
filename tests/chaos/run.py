"""One run: start, load and faults for so many minutes, drain, compare, report."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos import ledger, partners, report, verdict
from tests.chaos.faults import Conductor, Faults
from tests.chaos.house import LEASE_SECONDS, House, fixed_ports
from tests.chaos.ledger import Ledger, Post, Request, Task
from tests.chaos.operated import Operated
from tests.chaos.verdict import Evidence, Verdict
from tests.support.waiting import wait_until

POSTS_PER_SECOND = 120
PROGRESS_SECONDS = 10.0
# After the last fault: for producers to get their last 202, and for everything to be delivered.
LAST_POSTS_SECONDS = 60.0
DRAIN_SECONDS = 120.0
SAMPLED = 100


def say(text: str) -> None:
    print(text, flush=True)


class Run:
    """Holds everything between start and report; ``folder`` keeps logs and ledgers."""

    def __init__(self, folder: Path, *, minutes: float, seed: int, stack: ExitStack) -> None:
        self._folder, self._seconds, self._seed = folder, minutes * 60, seed
        ports = partners_ports()
        addresses = [f"{name}={port}" for name, port in ports.items()]
        self.house = House(folder)
        stack.callback(self.house.stop)
        self._receiver = Operated(
            "tests.chaos.receiver", "--seed", str(seed), "--ledger", str(folder / "requests.jsonl"), *addresses,
            log=folder / "receiver.log",
        )  # fmt: skip
        stack.callback(self._receiver.close)
        faults = Faults(self.house, self._receiver, list(ports))
        self._kinds = faults.kinds()
        self._conductor = Conductor(self._kinds, seed, Ledger(folder / "faults.jsonl"))
        self.house.begin()
        self._load = Operated(
            "tests.chaos.load", "--seed", str(seed), "--rate", str(POSTS_PER_SECOND), "--key", self.house.key,
            "--ledger", str(folder / "posts.jsonl"), "--webs", ",".join(map(str, self.house.webs.values())), *addresses,
            log=folder / "load.log",
        )  # fmt: skip
        stack.callback(self._load.close)
        self._began = time.monotonic()
        self._over = threading.Event()
        self._progress = threading.Thread(target=self._tell, name="progress", daemon=True)
        stack.callback(self._over.set)

    def go(self) -> int:
        """The exit code; everything else is printed."""
        self._progress.start()
        self._conductor.conduct(self._began + self._seconds)
        loaded = time.monotonic() - self._began
        stopped = self._load.ask("stop", seconds=LAST_POSTS_SECONDS)
        drained = self._drain()
        self._over.set()
        self._progress.join()
        judged, evidence = self._judge(stopped["unanswered"])
        say(f"\n{report.table(evidence, judged)}")
        say(
            f"{judged.accepted / loaded:.0f} accepted a second for {loaded:.0f} s; drained in {drained:.0f} s; "
            f"{judged.unacknowledged} exist though their 202 was lost"
        )
        if not judged.passed:
            say(f"\n{report.breaches(judged)}\nLogs and ledgers are in {self._folder}")
        say(report.last_line(judged, faults=len(evidence.faults), seed=self._seed))
        return 0 if judged.passed else 1

    def _tell(self) -> None:
        last = 0
        while not self._over.wait(PROGRESS_SECONDS):
            accepted = self._load.ask("count")["accepted"]
            received = self._receiver.ask("count")
            say(
                f"{time.monotonic() - self._began:5.0f} s  accepted {accepted} (+{accepted - last})  "
                f"delivered {received['delivered']}  faults {len(self._conductor.done)}  now: {self._conductor.now}"
            )
            last = accepted

    def _drain(self) -> float:
        """Wait until nothing is unfinished and no request open, or until patience ends; returns how long it took."""
        began = time.monotonic()
        try:
            wait_until(lambda: not self.house.unfinished(), seconds=DRAIN_SECONDS, what="everything to end", every=0.5)
            wait_until(lambda: not self._receiver.ask("count")["held"], seconds=10, what="the last request", every=0.1)
        except AssertionError as patience:
            say(str(patience))
        return time.monotonic() - began

    def _judge(self, unanswered: int) -> tuple[Verdict, Evidence]:
        tasks = self.house.tasks()
        other = self._against_api(tasks)
        if unanswered:
            other.append(f"{unanswered} producers had no answer {LAST_POSTS_SECONDS:g} s after the last fault")
        for name, code in self.house.end_processes().items():
            if code != 0:
                other.append(f"{name} ended with {code} when it was asked to stop")
        for crash in self.house.crashes:
            other.append(f"{crash.name} ended by itself with {crash.exit_code} at {crash.at:.3f}:\n{crash.last_words}")
        self._load.close()
        self._receiver.close()
        evidence = Evidence(
            posts=list(ledger.read(self._folder / "posts.jsonl", Post)),
            requests=list(ledger.read(self._folder / "requests.jsonl", Request)),
            tasks=self.house.tasks(),
            faults=self._conductor.done,
            losing={kind.name for kind in self._kinds if kind.loses_results},
            limits=partners.limits(),
            lease_seconds=LEASE_SECONDS,
            timeout_seconds=partners.TIMEOUT_SECONDS,
        )
        ledger.write(self._folder / "tasks.jsonl", evidence.tasks)
        judged = verdict.compare(evidence)
        judged.breaches["other"] += other
        return judged, evidence

    def _against_api(self, tasks: list[Task]) -> list[str]:
        """What the API says of some of the tasks must be what the tables say."""
        found = []
        # The client's own connection may have been reset long ago.
        client = self.house.client.another()
        for task in random.Random(self._seed).sample(tasks, min(SAMPLED, len(tasks))):
            told = client.task(task.id)
            numbers = [attempt["attempt_no"] for attempt in client.attempts(task.id)]
            if told["status"] != task.status or numbers != [attempt.number for attempt in task.attempts]:
                found.append(f"the API tells of {task.id}: {told['status']}, attempts {numbers}")
        client.close()
        return found


def partners_ports() -> dict[str, int]:
    """Where each partner's receiver listens."""
    names = list(partners.limits())
    return dict(zip(names, fixed_ports(len(names)), strict=True))


def run(folder: Path, *, minutes: float, seed: int) -> int:
    """Start everything, run it, end everything; returns the exit code."""
    with ExitStack() as stack:
        return Run(folder, minutes=minutes, seed=seed, stack=stack).go()
