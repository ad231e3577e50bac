"""/healthz: the process lives. /readyz: can it do its work. /: what this is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from notifier import clock
from notifier.api.errors import Problem, response
from notifier.availability import database, is_connection_lost
from notifier.models import SweepState
from notifier.wake import broker_answers

# Beat asks for a sweep every second; after this long without one it is taken for dead.
BEAT_SILENCE_SECONDS = 10


def _read_only(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """GET and HEAD; anything else is told so in the one shape of errors."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            allowed = {"Allow": "GET, HEAD"}
            return response(
                Problem(405, "method_not_allowed", f"{request.method} is not allowed here.", headers=allowed)
            )
        return view(request)

    return guarded


@_read_only
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@_read_only
def readyz(request: HttpRequest) -> HttpResponse:
    """503 only when the database is away: without broker or beat everything is accepted, and delivered by the sweep."""
    checks: dict[str, str] = {}
    if database.away():
        return _unavailable()
    try:
        now = clock.read()
        state = SweepState.objects.filter(name="sweep").first()
    except Error as error:
        if is_connection_lost(error):
            database.lost()
        return _unavailable()
    checks["database"] = "ok"
    checks["broker"] = "ok" if broker_answers() else "away"
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


def _unavailable() -> HttpResponse:
    return JsonResponse({"status": "unavailable", "checks": {"database": "away"}}, status=503)


@_read_only
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "notifier/index.html")
