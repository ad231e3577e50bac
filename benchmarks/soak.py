"""Half of the load that one web and one worker sustain, for many minutes: does anything grow?

Prints memory, threads and open files of each process (with its children), and the connections of database and broker; at
the end the slope of each over the run, its first fifth left out.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

from benchmarks.processes import memory_mb, tree
from benchmarks.rig import LOOPBACK, Rig, rig, simulator
from tests.support.client import Client
from tests.support.waiting import wait_until

PARTNERS = 20
PRODUCERS = 4
CAPACITY_SECONDS = 15.0
SAMPLE_SECONDS = 10.0
WARM_UP = 0.2
# What a flat line may rise: the allocator's noise over 20 minutes.
FLAT_MB_PER_HOUR = 15.0


@dataclass(slots=True)
class Series:
    """Samples of one figure: (seconds since the start, value)."""

    unit: str
    points: list[tuple[float, float]] = field(default_factory=list)

    def per_hour(self) -> float:
        """The slope of the least-squares line."""
        kept = self.points[int(len(self.points) * WARM_UP) :]
        line = statistics.linear_regression([at for at, _ in kept], [value for _, value in kept])
        return float(line.slope) * 3600


def run(minutes: float, rate: float | None) -> None:
    with rig() as rigged, simulator(rigged.folder) as partner:
        rigged.system.apply_partners(**{f"partner-{number}": LOOPBACK for number in range(PARTNERS)})
        rigged.system.start_all()
        url = partner.url("/ok")
        full = _post(rigged.system.client, url, rate=None, seconds=CAPACITY_SECONDS) / CAPACITY_SECONDS
        wait_until(lambda: _unfinished(rigged) == 0, seconds=300, what="the first load to be delivered")
        rate = rate or full / 2
        print(f"accepted at full load: {full:.0f}/s; {minutes:g} minutes at {rate:.0f}/s", flush=True)
        stop = threading.Event()
        sampled: dict[str, Series] = {}
        sampler = threading.Thread(target=_sample_until, args=(stop, rigged, sampled), daemon=True)
        sampler.start()
        posted = _post(rigged.system.client, url, rate=rate, seconds=minutes * 60)
        stop.set()
        sampler.join()
        wait_until(lambda: _unfinished(rigged) == 0, seconds=60, what="the rest to be delivered")
        print(f"accepted and delivered: {posted}")
        if not _report(sampled):
            raise SystemExit("soak: something grows")
        print("soak: flat")


def _post(client: Client, url: str, *, rate: float | None, seconds: float) -> int:
    """Post from several threads, at so many a second in all or as fast as it goes; returns how many were accepted."""
    counts = [0] * PRODUCERS
    end = time.monotonic() + seconds

    def produce(index: int) -> None:
        own = client.another()
        due = time.monotonic() + index / (rate or 1)
        for number in itertools.count():
            if rate is not None:
                time.sleep(max(0.0, due - time.monotonic()))  # noqa: TID251 - a steady rate
                due += PRODUCERS / rate
            if time.monotonic() >= end:
                break
            own.notify(partner_id=f"partner-{number % PARTNERS}", target_url=url, body_text="x" * 1024)
            counts[index] += 1
        own.close()

    threads = [threading.Thread(target=produce, args=(index,)) for index in range(PRODUCERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def _unfinished(rigged: Rig) -> int:
    return int(rigged.execute("SELECT COUNT(*) FROM notifier_notificationtask WHERE outcome IS NULL")[0][0])


def _sample_until(stop: threading.Event, rigged: Rig, sampled: dict[str, Series]) -> None:
    begun = time.monotonic()
    broker = redis.Redis.from_url(rigged.system.valkey.url)
    rounds = 0
    while not stop.wait(SAMPLE_SECONDS):
        at = time.monotonic() - begun
        for name, process in rigged.system.processes.items():
            for unit, value in _process(process.pid):
                sampled.setdefault(f"{name} {unit}", Series(unit)).points.append((at, value))
        connected = rigged.execute("SHOW STATUS LIKE 'Threads_connected'")[0][1]
        sampled.setdefault("database connections", Series("connections")).points.append((at, float(connected)))
        clients = float(broker.info("clients")["connected_clients"])
        sampled.setdefault("broker connections", Series("connections")).points.append((at, clients))
        rounds += 1
        if rounds % 6 == 0:
            print(
                f"{at:6.0f} s  " + "  ".join(f"{name} {series.points[-1][1]:.0f}" for name, series in sampled.items()),
                flush=True,
            )
    broker.close()


def _process(pid: int) -> Iterator[tuple[str, float]]:
    """Of a process and its children: resident memory, threads, open files."""
    yield "MB", memory_mb(pid)
    family = list(tree(pid))
    yield "threads", float(sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in family))
    yield "files", float(sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in family))


def _report(sampled: dict[str, Series]) -> bool:
    """Print first, last and slope of each figure; whether all are flat."""
    print(f"{'figure':24}{'first':>10}{'last':>10}{'per hour':>12}")
    flat = True
    for name, series in sampled.items():
        slope = series.per_hour()
        # Of threads, files and connections, half a one over the run is more than noise around a level.
        limit = FLAT_MB_PER_HOUR if series.unit == "MB" else 0.5 * 3600 / series.points[-1][0] * 5
        grows = slope > limit
        flat = flat and not grows
        print(
            f"{name:24}{series.points[0][1]:>10.1f}{series.points[-1][1]:>10.1f}{slope:>12.2f}{'  GROWS' if grows else ''}"
        )
    return flat
