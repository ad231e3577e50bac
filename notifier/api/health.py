"""/healthz: the process lives. /readyz: can it do its work. /metrics: see notifier.metrics. /: what this is."""

from __future__ import annotations

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from config.celery import app
from notifier import clock
from notifier.models import SweepState

# Beat asks for a sweep every second; after this long without one it is taken for dead.
BEAT_SILENCE_SECONDS = 10


def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """503 only when the database is away: without broker or beat everything is accepted, and delivered by the sweep."""
    checks: dict[str, str] = {}
    try:
        now = clock.read()
        state = SweepState.objects.filter(name="sweep").first()
    except Error:
        connection.close()
        return JsonResponse({"status": "unavailable", "checks": {"database": "away"}}, status=503)
    checks["database"] = "ok"
    checks["broker"] = "ok" if _broker_answers() else "away"
    beat_at = None if state is None else state.beat_at
    silent = beat_at is None or (now - beat_at).total_seconds() > BEAT_SILENCE_SECONDS
    checks["beat"] = "silent" if silent else "ok"
    degraded = any(value != "ok" for value in checks.values())
    return JsonResponse(
        {
            "status": "degraded" if degraded else "ok",
            "checks": checks,
            "last_sweep_at": state.swept_at.isoformat() if state else None,
        }
    )


def _broker_answers() -> bool:
    try:
        with app.connection_for_write() as broker:
            broker.connect()
            broker.default_channel.client.ping()  # type: ignore[attr-defined]  # the Redis channel has one
    except Exception:  # noqa: BLE001 - whatever a broker raises, the answer is that it does not answer
        return False
    return True


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "notifier/index.html")
