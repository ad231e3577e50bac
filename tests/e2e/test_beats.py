"""Three beats at once, and none."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from datetime import UTC, datetime, timedelta

from tests.e2e import scenarios
from tests.support.ledger import PartnerSimulator
from tests.support.system import FullSystem
from tests.support.waiting import wait_until


def _in_a_moment(system: FullSystem, partner: PartnerSimulator, count: int) -> list[str]:
    """Due in a second, when nobody but a sweep will know."""
    due = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()  # noqa: TID251 - the producer's own clock
    return [
        system.client.notify(partner_id="acme", target_url=partner.url("/ok"), deliver_at=due) for _ in range(count)
    ]


def _silence(system: FullSystem) -> float:
    found = re.search(r"(?m)^notifier_beat_silence_seconds (\S+)$", system.client.request("GET", "/metrics").body)
    assert found is not None
    return float(found[1])


def _connections_made(system: FullSystem) -> int:
    """By anybody, since the server started; this one among them."""
    with contextlib.closing(system.sql()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Connections'")
        return int(cursor.fetchone()[1])


def _swept_at(system: FullSystem) -> datetime:
    with contextlib.closing(system.sql()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT swept_at FROM notifier_sweepstate")
        found: datetime = cursor.fetchone()[0]
        return found


def test_a_sweep_has_the_connection_of_the_one_before(system: FullSystem) -> None:
    """Celery closes a task's connections unless it is told not to, and each of 20 sweeps would make one."""
    begun, before = _swept_at(system), _connections_made(system)
    looks = 0

    def swept() -> bool:
        nonlocal looks
        looks += 1
        return _swept_at(system) >= begun + timedelta(seconds=20)

    wait_until(swept, seconds=40, what="twenty sweeps", every=1.0)

    assert _connections_made(system) - before - looks < 15


def test_three_beats_deliver_once_and_without_any_the_workers_sweep_and_it_is_told(
    system: FullSystem, partner: PartnerSimulator
) -> None:
    system.apply_partners(acme=scenarios.PARTNER)
    for name in ("beat-2", "beat-3"):
        system.start_beat(name)
    for _ in range(3):
        scenarios.ended(system.client, _in_a_moment(system, partner, 10), seconds=10)
    assert set(partner.counts().values()) == {1}
    assert _silence(system) < 5

    beats = [process for name, process in system.processes.items() if name.startswith("beat")]
    for beat in beats:
        beat.send_signal(signal.SIGKILL)
    gone_at = time.monotonic()
    ids = _in_a_moment(system, partner, 10)
    wait_until(lambda: set(ids) <= set(partner.counts()), seconds=6, what="the workers to sweep")

    wait_until(
        lambda: system.client.request("GET", "/readyz").body["checks"]["beat"] == "silent", seconds=15, what="it"
    )
    assert time.monotonic() - gone_at < 15
    assert system.client.request("GET", "/readyz").status == 200
    assert _silence(system) > 5
    assert set(partner.counts().values()) == {1}

    system.start_beat("beat-4")
    wait_until(lambda: system.client.request("GET", "/readyz").body["status"] == "ok", seconds=20, what="the new beat")
