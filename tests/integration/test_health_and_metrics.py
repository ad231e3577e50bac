"""/, /healthz, /readyz and /metrics."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.test import Client

from notifier import clock
from notifier.models import AttemptStatus, Status, SweepState
from notifier.models.task import DeadReason
from tests.support.factories import make_attempt, make_partner, make_task

pytestmark = pytest.mark.django_db


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
