"""What a healthy partner feels of others: accepted → arrived, alone and beside black holes and a flood, in turns.

Others are held back in between by pausing them, so that both are measured on the same database, in the same minutes.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground import Receiver
from benchmarks.processes import Meter
from benchmarks.receiver import address
from benchmarks.rig import Rig, rig
from tests.support.waiting import wait_until

BLACK_HOLES = 50
BLACK_HOLE_ROWS = 10_000
FLOOD_ROWS = 100_000
POSTS_PER_SECOND = 20
ROUND_SECONDS = 100.0
SETTLE_SECONDS = 8.0
# Milliseconds that a black hole waits before it answers: longer than any time-out.
NEVER = 3_600_000
ANYWHERE = {"allow_hosts": [f"{address(0)}:*"], "allow_private_cidrs": ["127.0.0.0/8"]}


def run(rounds: int, black_holes: int, rows: int, flood: int) -> None:
    with (
        rig() as rigged,
        _receiver(rigged.folder / "healthy") as healthy,
        _receiver(rigged.folder / "others") as others,
    ):
        names = [f"hole-{number}" for number in range(black_holes)]
        rigged.system.apply_partners(**dict.fromkeys(["healthy", "flood", *names], ANYWHERE))
        rigged.system.start_all()
        template = rigged.system.client.notify(partner_id="healthy", target_url=_url(healthy, 0), body_text="x" * 1024)
        _hold_others(rigged, paused=True)
        rigged.fill(template, _url(others, NEVER), each=rows, partners="hole-%")
        print(
            f"{black_holes} black holes with {rows} waiting each, a flood of {flood}; {POSTS_PER_SECOND} posts/s",
            flush=True,
        )
        print(
            f"{'round':8}{'alone p50':>12}{'p99':>8}{'beside p50':>12}{'p99':>8}{'ratio p99':>12}{'flood/s':>10}  cores in use"
        )
        alone_all: list[float] = []
        beside_all: list[float] = []
        for number in range(rounds):
            rigged.execute(
                "DELETE t FROM notifier_notificationtask t JOIN notifier_partner p ON p.id = t.partner_id WHERE p.partner_id = 'flood' AND t.status = 'pending'"
            )
            rigged.fill(template, _url(others, 0), each=flood, partners="flood")
            time.sleep(SETTLE_SECONDS)  # noqa: TID251 - what was in flight ends
            alone = _latencies(rigged, healthy)
            _hold_others(rigged, paused=False)
            meter = Meter({"database": rigged.mariadb.pid, "partners": others.process.pid, **_pids(rigged)})
            before, begun = _flooded(rigged), time.monotonic()
            beside = _latencies(rigged, healthy)
            seconds = time.monotonic() - begun
            rate = (_flooded(rigged) - before) / seconds
            cores = "  ".join(f"{role} {used / seconds:.2f}" for role, used in meter.read().items())
            _hold_others(rigged, paused=True)
            _print(str(number + 1), alone, beside, f"{rate:>10.0f}  {cores}")
            alone_all += alone
            beside_all += beside
        _print("all", alone_all, beside_all, "")


@contextlib.contextmanager
def _receiver(folder: Path) -> Iterator[Receiver]:
    folder.mkdir()
    receiver = Receiver(folder, 1)
    try:
        yield receiver
    finally:
        receiver.stop()


def _url(receiver: Receiver, milliseconds: int) -> str:
    return f"http://{address(0)}:{receiver.port}/{milliseconds}"


def _pids(rigged: Rig) -> dict[str, int]:
    return {name: process.pid for name, process in rigged.system.processes.items()}


def _hold_others(rigged: Rig, *, paused: bool) -> None:
    rigged.execute(
        "UPDATE notifier_partnerstate s JOIN notifier_partner p ON p.id = s.partner_id "
        f"SET s.paused_at = {'UTC_TIMESTAMP(6)' if paused else 'NULL'}, s.circuit_state = 'closed', s.circuit_openings = 0, "
        "s.circuit_attempts = 0, s.circuit_failures = 0 WHERE p.partner_id <> 'healthy'"
    )


def _flooded(rigged: Rig) -> int:
    return int(
        rigged.execute(
            "SELECT COUNT(*) FROM notifier_notificationtask t JOIN notifier_partner p ON p.id = t.partner_id "
            "WHERE p.partner_id = 'flood' AND t.status = 'succeeded'"
        )[0][0]
    )


def _latencies(rigged: Rig, healthy: Receiver) -> list[float]:
    """Milliseconds from the 202 to the arrival at the partner, for a round of steady posts."""
    accepted: dict[int, int] = {}
    healthy.forget()
    rigged.system.client.close()  # the server has closed it during the fill; it is opened again
    begun = time.monotonic()
    for number in range(int(ROUND_SECONDS * POSTS_PER_SECOND)):
        time.sleep(max(0.0, begun + number / POSTS_PER_SECOND - time.monotonic()))  # noqa: TID251 - a steady rate
        rigged.system.client.notify(
            partner_id="healthy", target_url=f"{_url(healthy, 0)}/{number}", body_text="x" * 1024
        )
        accepted[number] = time.monotonic_ns()
    wait_until(lambda: accepted.keys() <= healthy.arrivals().keys(), seconds=60, what="the healthy partner's requests")
    arrived = healthy.arrivals()
    return [max(0, arrived[number] - at) / 1_000_000 for number, at in accepted.items()]


def _print(name: str, alone: list[float], beside: list[float], more: str) -> None:
    cuts = [statistics.quantiles(values, n=100) for values in (alone, beside)]
    figures = "".join(f"{cut[49]:>12.1f}{cut[98]:>8.1f}" for cut in cuts)
    print(f"{name:8}{figures}{cuts[1][98] / cuts[0][98]:>12.2f}{more}", flush=True)
