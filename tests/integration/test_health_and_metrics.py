"""/, /healthz, /readyz and /metrics."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifier import clock
from notifier.models import AttemptStatus, Status, SweepState
from notifier.models.task import DeadReason
from tests.support.factories import make_attempt, make_partner, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _asked_at_each_scrape(settings: Any) -> None:
    settings.NOTIFIER_METRICS_SECONDS = 0


def _metrics(client: Client) -> dict[str, float]:
    lines = client.get("/metrics").content.decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def test_the_front_page_links_to_what_there_is(client: Client) -> None:
    page = client.get("/").content.decode()

    for address in ("/v1/docs", "/v1/schema", "/admin/", "/readyz", "/healthz", "/metrics"):
        assert f'href="{address}"' in page
        assert client.get(address).status_code in (200, 302)


@pytest.mark.parametrize("address", ["/", "/healthz", "/readyz"])
def test_what_is_read_only_says_so_in_the_one_shape_of_errors(client: Client, address: str) -> None:
    answer = client.post(address)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (
        405, "application/problem+json", "method_not_allowed",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("age", "status", "beat"), [(1, "ok", "ok"), (60, "degraded", "silent"), (None, "degraded", "silent")]
)
def test_readiness_tells_whether_beat_lives(client: Client, age: int | None, status: str, beat: str) -> None:
    now = clock.read()
    SweepState.objects.create(name="sweep", swept_at=now, beat_at=None if age is None else now - timedelta(seconds=age))

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, status)
    assert answer.json()["checks"] == {"database": "ok", "broker": "ok", "beat": beat}


def test_without_any_sweep_beat_is_silent(client: Client) -> None:
    assert client.get("/readyz").json()["checks"]["beat"] == "silent"
    assert client.get("/readyz").json()["last_sweep_at"] is None


def test_the_five_figures_of_the_last_minute(client: Client) -> None:
    partner, long_ago = make_partner(), clock.read() - timedelta(hours=1)
    good = make_task(partner, status=Status.SUCCEEDED, attempt_count=2)
    make_attempt(good, 1, status=AttemptStatus.FAILED, latency_ms=100)
    make_attempt(good, 2, status=AttemptStatus.SUCCEEDED, latency_ms=300)
    make_task(partner, status=Status.DEAD, dead_reason=DeadReason.REJECTED, attempt_count=1)
    make_task(partner)
    old = make_task(partner, status=Status.SUCCEEDED, created_at=long_ago, attempt_count=9)
    make_attempt(old, 1, created_at=long_ago, latency_ms=9000)

    figures = _metrics(client)

    assert figures["notifier_database_up"] == 1
    assert figures["notifier_accepted_per_second"] == 3 / 60
    assert figures["notifier_delivery_success_ratio"] == 0.5
    assert figures["notifier_delivery_latency_seconds_mean"] == pytest.approx(0.2)
    assert figures["notifier_attempts_per_task_mean"] == 1.5
    assert figures["notifier_dead_ratio"] == 0.5


def test_the_sweeps_age_and_beats_silence(client: Client) -> None:
    assert (
        _metrics(client)["notifier_sweep_age_seconds"] == _metrics(client)["notifier_beat_silence_seconds"] == math.inf
    )

    now = clock.read()
    SweepState.objects.create(
        name="sweep", swept_at=now - timedelta(seconds=20), beat_at=now - timedelta(seconds=100)
    )  # fmt: skip

    figures = _metrics(client)
    assert figures["notifier_sweep_age_seconds"] == pytest.approx(20, abs=5)
    assert figures["notifier_beat_silence_seconds"] == pytest.approx(100, abs=5)


def test_without_deliveries_there_is_no_ratio(client: Client) -> None:
    figures = _metrics(client)

    assert figures["notifier_accepted_per_second"] == 0
    assert str(figures["notifier_dead_ratio"]) == "nan"


def test_what_waits_is_counted_by_what_it_waits_for(client: Client) -> None:
    now = clock.read()
    later = now + timedelta(hours=1)
    opened = {"circuit_state": "open", "circuit_since": now, "circuit_probe_at": later}
    ready, paused = make_partner(), make_partner(state={"paused_at": now})
    held, broken = make_partner(state={"hold_until": later, "held_at": now}), make_partner(state=opened)
    make_partner(enabled=False)
    for partner in (ready, paused, held, broken):
        make_task(partner, next_attempt_at=now - timedelta(seconds=30))
    make_task(ready, next_attempt_at=later)
    make_task(ready, status=Status.RUNNING)

    figures = _metrics(client)

    reasons = {ready: "ready", paused: "paused", held: "retry_after", broken: "circuit_open"}
    for partner, reason in reasons.items():
        assert figures[f'notifier_waiting{{partner="{partner.partner_id}",reason="{reason}"}}'] == 1
        age = figures[f'notifier_oldest_due_age_seconds{{partner="{partner.partner_id}"}}']
        assert age == pytest.approx(30, abs=10)
    assert figures[f'notifier_waiting{{partner="{ready.partner_id}",reason="scheduled"}}'] == 1
    assert (
        figures['notifier_in_flight{partner="other"}']
        + figures.get(f'notifier_in_flight{{partner="{ready.partner_id}"}}', 0)
        == 1
    )
    assert figures[f'notifier_circuit_open{{partner="{broken.partner_id}"}}'] == 1
    assert figures['notifier_circuits{state="open"}'] == 1
    assert (figures["notifier_partners_held"], figures["notifier_partners_paused"]) == (1, 1)


def test_beyond_the_bound_partners_are_counted_together(client: Client, settings: Any) -> None:
    settings.NOTIFIER_METRICS_PARTNERS = 2
    now = clock.read()
    partners = [make_partner() for _ in range(5)]
    for number, partner in enumerate(partners):
        for _ in range(number + 1):
            make_task(partner, next_attempt_at=now - timedelta(seconds=100 - number))

    figures = _metrics(client)

    waiting = {name: value for name, value in figures.items() if name.startswith("notifier_waiting{")}
    # The longest due ones keep their names.
    assert waiting == {
        f'notifier_waiting{{partner="{partners[0].partner_id}",reason="ready"}}': 1,
        f'notifier_waiting{{partner="{partners[1].partner_id}",reason="ready"}}': 2,
        'notifier_waiting{partner="other",reason="ready"}': 3 + 4 + 5,
    }
    assert figures['notifier_oldest_due_age_seconds{partner="other"}'] == pytest.approx(98, abs=10)


def test_the_database_is_asked_once_however_many_scrape(
    client: Client, settings: Any, django_assert_num_queries: Any
) -> None:
    _metrics(client)  # leaves fresh figures
    settings.NOTIFIER_METRICS_SECONDS = 600

    with django_assert_num_queries(0):
        for _ in range(3):
            assert _metrics(client)["notifier_database_up"] == 1


def test_a_scrape_costs_the_same_statements_however_many_partners_there_are(
    client: Client,
) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            _metrics(client)
        return len(queries)

    make_task()
    few = statements()
    for _ in range(20):
        make_task()

    assert statements() == few
