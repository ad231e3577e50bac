"""The ground on which both are measured: one MariaDB, one Valkey, one receiver, one generator of load."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks import receiver
from benchmarks.figures import Results, machine
from benchmarks.load import Job, Report
from benchmarks.processes import Meter
from benchmarks.recipe import Recipe
from benchmarks.rig import SERVER
from benchmarks.sides import SPARSE, Ours, Side
from tests.support.ledger import REPOSITORY
from tests.support.servers import MariaDB, Valkey, free_port
from tests.support.waiting import wait_until

# The recipe's pools, for partners that answer at once and for slow ones: the best by `make bench ARGS='pools'`.
PROMPT = ("prefork", 8)
SLOW = ("threads", 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of each. The recipe is measured over a window of its backlog: emptying it would take minutes a round."""

    rounds: int = 5
    backlog: int = 50_000
    window_seconds: float = 10.0
    accept_seconds: float = 6.0
    together_seconds: float = 10.0
    latency_seconds: float = 15.0
    warm_up_seconds: float = 2.0
    sparse_partners: int = SPARSE
    waiting: int = 1_000_000
    curve: tuple[int, ...] = (0, 10, 30, 100, 300, 1000)
    curve_rounds: int = 3


QUICK = Plan(
    rounds=1,
    backlog=4000,
    window_seconds=1.5,
    accept_seconds=1.0,
    together_seconds=1.5,
    latency_seconds=2.0,
    warm_up_seconds=0.5,
    sparse_partners=400,
    waiting=20_000,
    curve=(0, 300),
    curve_rounds=1,
)


class Receiver:
    """The partners' side as a process."""

    def __init__(self, folder: Path, addresses: int) -> None:
        self.folder = folder / "receiver"
        self.folder.mkdir()
        self.port = free_port()
        receiver.prepare(self.folder)
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.receiver", "--port", str(self.port), "--addresses", str(addresses),
                "--folder", str(self.folder),
            ],
            cwd=REPOSITORY,
        )  # fmt: skip
        wait_until((self.folder / "ready").exists, seconds=30, what="the receiver to listen")
        self.counts = receiver.Counts(self.folder)

    @property
    def arrived(self) -> int:
        return self.counts.arrived

    def arrivals(self) -> dict[int, int]:
        """When each numbered request arrived first, in nanoseconds of the monotonic clock."""
        found: dict[int, int] = {}
        for number, at in receiver.ENTRY.iter_unpack((self.folder / receiver.LEDGER).read_bytes()):
            found.setdefault(number, at)
        return found

    def forget(self) -> None:
        (self.folder / receiver.LEDGER).write_bytes(b"")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Ground:
    def __init__(self, folder: Path, plan: Plan, *, quick: bool) -> None:
        self.folder, self.plan = folder, plan
        self._stack = contextlib.ExitStack()
        try:
            self._start(quick)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, quick: bool) -> None:
        self.mariadb = MariaDB(self.folder, *SERVER)
        self.mariadb.start()
        self._stack.callback(self.mariadb.stop)
        self.receiver = Receiver(self.folder, self.plan.sparse_partners)
        self._stack.callback(self.receiver.stop)
        self.valkey = Valkey(self.folder)
        self.valkey.start()
        self._stack.callback(self.valkey.stop)
        with ThreadPoolExecutor() as threads:
            ours = threads.submit(self._make_ours)
            self.recipe = self.make_recipe(tuned=False)
            self.ours = ours.result()
        self.ours.wait_until_ready()
        self.sides: list[Side] = [self.ours, self.recipe]
        self.pool: tuple[str, int] | None = None
        with redis.Redis.from_url(self.valkey.url) as broker:
            broker_version = "Valkey " + broker.info("server").get("valkey_version", "?")
        database_version = self.ours.execute("SELECT VERSION()")[0][0]
        self.results = Results(machine=machine(database_version, broker_version), quick=quick)

    def _make_ours(self) -> Ours:
        ours = Ours(self.folder, self.mariadb, self.valkey, self.receiver.port, self.plan.sparse_partners)
        self._stack.callback(ours.stop)
        return ours

    def make_recipe(self, *, tuned: bool) -> Recipe:
        recipe = Recipe(
            self.folder, self.mariadb, self.valkey, self.receiver.port, self.plan.sparse_partners, tuned=tuned
        )
        self._stack.callback(recipe.stop)
        return recipe

    def close(self) -> None:
        self._stack.close()

    def use_pool(self, pool: tuple[str, int]) -> None:
        """Have the recipe's worker be of that pool and concurrency."""
        if self.pool != pool:
            self.recipe.start_worker(*pool)
            self.pool = pool

    @contextlib.contextmanager
    def only(self, side: Side) -> Iterator[None]:
        """The others stand still meanwhile."""
        with contextlib.ExitStack() as stack:
            for other in self.sides:
                if other is not side:
                    stack.enter_context(other.frozen())
            yield

    @contextlib.contextmanager
    def hanging_broker(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        self.valkey.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.valkey.signal(signal.SIGCONT)

    def meter(self, side: Side) -> Meter:
        servers = {"database": self.mariadb.process, "broker": self.valkey.process, "receiver": self.receiver.process}
        shared = {role: process.pid for role, process in servers.items() if process is not None}
        return Meter(side.pids() | shared)

    def post(self, side: Side, bodies: list[str], seconds: float, **more: Any) -> Report:
        """Run the generator of load until it is through."""
        job: dict[str, Any] = {
            "port": side.port, "path": side.path, "headers": side.headers, "bodies": bodies,
            "status": side.accepted_status, "seconds": seconds, "counts": str(self.receiver.folder),
        }  # fmt: skip
        return run_load(Job(**(job | more)))


def run_load(job: Job) -> Report:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=REPOSITORY, input=json.dumps(asdict(job)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the generator of load failed: {done.stderr[-2000:]}")
    return Report(**json.loads(done.stdout))


@contextlib.contextmanager
def ground(plan: Plan, *, quick: bool) -> Iterator[Ground]:
    """Private servers on loopback in a temporary folder, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        made = Ground(Path(name), plan, quick=quick)
        try:
            yield made
        finally:
            made.close()
