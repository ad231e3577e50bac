"""What a healthy partner feels of others: accepted → arrived, alone and beside black holes and a flood, in turns.

Others are held back in between by pausing them, so that both are measured on the same database, in the same minutes.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.rig import LOOPBACK, Rig, rig, simulator
from tests.support.ledger import PartnerSimulator

BLACK_HOLES = 50
BLACK_HOLE_ROWS = 10_000
FLOOD_ROWS = 100_000
POSTS_PER_SECOND = 20
ROUND_SECONDS = 20.0
SETTLE_SECONDS = 8.0


def run(rounds: int, black_holes: int, rows: int, flood: int) -> None:
    with (
        rig() as rigged,
        simulator(rigged.folder, ledger=True) as healthy,
        simulator(rigged.folder) as others,
    ):
        names = [f"hole-{number}" for number in range(black_holes)]
        rigged.system.apply_partners(**dict.fromkeys(["healthy", "flood", *names], LOOPBACK))
        rigged.system.start_all()
        template = rigged.system.client.notify(
            partner_id="healthy", target_url=healthy.url("/ok"), body_text="x" * 1024
        )
        _hold_others(rigged, paused=True)
        rigged.fill(template, others.url("/never"), each=rows, partners="hole-%")
        print(
            f"{black_holes} black holes with {rows} waiting each, a flood of {flood}; {POSTS_PER_SECOND} posts/s",
            flush=True,
        )
        print(f"{'round':8}{'alone p50':>12}{'p99':>8}{'beside p50':>12}{'p99':>8}{'ratio p99':>12}{'flood/s':>10}")
        alone_all: list[float] = []
        beside_all: list[float] = []
        for number in range(rounds):
            rigged.execute(
                "DELETE t FROM notifier_notificationtask t JOIN notifier_partner p ON p.id = t.partner_id WHERE p.partner_id = 'flood' AND t.status = 'pending'"
            )
            rigged.fill(template, others.url("/ok"), each=flood, partners="flood")
            time.sleep(SETTLE_SECONDS)  # noqa: TID251 - what was in flight ends
            alone = _latencies(rigged, healthy)
            _hold_others(rigged, paused=False)
            before = _flooded(rigged)
            beside = _latencies(rigged, healthy)
            rate = (_flooded(rigged) - before) / ROUND_SECONDS
            _hold_others(rigged, paused=True)
            _print(str(number + 1), alone, beside, rate)
            alone_all += alone
            beside_all += beside
        _print("all", alone_all, beside_all, None)


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


def _latencies(rigged: Rig, healthy: PartnerSimulator) -> list[float]:
    """Milliseconds from the 202 to the arrival at the partner, for a round of steady posts."""
    accepted: dict[str, float] = {}
    begun = time.monotonic()
    for number in range(int(ROUND_SECONDS * POSTS_PER_SECOND)):
        time.sleep(max(0.0, begun + number / POSTS_PER_SECOND - time.monotonic()))  # noqa: TID251 - a steady rate
        task_id = rigged.system.client.notify(partner_id="healthy", target_url=healthy.url("/ok"), body_text="x" * 1024)
        accepted[task_id] = time.time()
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        arrived = {seen.webhook_id: seen.at for seen in healthy.requests()}
        if accepted.keys() <= arrived.keys():
            return [(arrived[task_id] - at) * 1000 for task_id, at in accepted.items()]
        time.sleep(0.5)  # noqa: TID251 - the ledger is a file
    raise SystemExit("the healthy partner's notifications did not arrive within a minute")


def _print(name: str, alone: list[float], beside: list[float], rate: float | None) -> None:
    cuts = [statistics.quantiles(values, n=100) for values in (alone, beside)]
    figures = "".join(f"{cut[49]:>12.1f}{cut[98]:>8.1f}" for cut in cuts)
    flood = "" if rate is None else f"{rate:>10.0f}"
    print(f"{name:8}{figures}{cuts[1][98] / cuts[0][98]:>12.2f}{flood}", flush=True)
