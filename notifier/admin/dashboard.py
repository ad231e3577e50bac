"""The front page: what waits, what happened in the last hour, day or week, and what failed most."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from notifier import clock, overview, rollup
from notifier.admin import charts, show
from notifier.overview import WINDOWS, Counted

# Counting is a minute and some seconds behind; beyond this nobody counts.
LATE = timedelta(minutes=4)


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The theme calls this with the front page's context. Figures are for those who may see tasks."""
    if not request.user.has_perm("notifier.view_notificationtask"):
        return context
    now = clock.read()
    window = next((each for each in WINDOWS if each.name == request.GET.get("window")), WINDOWS[0])
    traffic = overview.traffic(window, now=now)
    by_status, by_reason = overview.backlog()
    tasks = reverse("admin:notifier_notificationtask_changelist")
    attempts = sum(traffic.totals[name] for name in ("succeeded", "failed", "unknown"))
    late = traffic.counted_until is None or now - traffic.counted_until > LATE
    return context | {
        "board": True,
        "windows": [(each.name, each.label, each is window) for each in WINDOWS],
        "counted_until": show.moment(traffic.counted_until),
        "late": late,
        "backlog": [
            (status, _count(each), f"{tasks}?{urlencode({'status__exact': status})}")
            for status, each in by_status.items()
        ],
        "dead": [
            (why, _count(each), f"{tasks}?{urlencode({'dead_reason__exact': why})}")
            for why, each in by_reason.items()
            if each.count
        ],
        "bulk_address": reverse("admin:notifier_bulkrequeue_start")
        if request.user.has_perm("notifier.change_notificationtask")
        else None,
        "figures": [
            ("attempts", f"{attempts:,}"),
            ("attempts a second", f"{attempts / window.length.total_seconds():,.2f}"),
            ("succeeded", _percent(rollup.success_ratio(traffic.totals))),
            (
                "latency p50 / p95",
                f"{_ms(rollup.percentile(traffic.totals, 0.5))} / {_ms(rollup.percentile(traffic.totals, 0.95))}",
            ),
        ],
        "attempts_chart": charts.attempts(traffic.points),
        "latency_chart": charts.latencies(traffic.points),
        "partners": [
            (name, f"{bad:,}", _percent(bad / total if total else None), f"{tasks}?{urlencode({'partner': name})}")
            for name, bad, total in traffic.partners
        ],
        "errors": [(code, f"{bad:,}", f"{tasks}?{urlencode({'error': code})}") for code, bad in traffic.errors],
    }


def _count(counted: Counted) -> str:
    return f"{counted.count:,}{'+' if counted.more else ''}"


def _percent(share: float | None) -> str:
    return show.NONE if share is None else f"{share:.1%}"


def _ms(value: float | None) -> str:
    return show.NONE if value is None else f"{value:,.0f} ms"
