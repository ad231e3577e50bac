"""Attempts on their task's page: a timeline, newest first, each with what its time was spent on. Nobody edits history."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from notifier.admin import show
from notifier.models import NotificationAttempt

SHOWN_ATTEMPTS = 50
BAR_WIDTH = 240.0
LEAST_WIDTH = 1.0


def latest(task_key: int) -> list[NotificationAttempt]:
    """The latest only: a task that was requeued often may have hundreds."""
    return list(NotificationAttempt.objects.filter(task=task_key).order_by("-attempt_no")[:SHOWN_ATTEMPTS])


def timeline(attempts: Sequence[NotificationAttempt]) -> SafeString:
    """All bars have one scale: that of the slowest attempt shown."""
    if not attempts:
        return format_html('<p class="ntf-note">{}</p>', "No attempt yet.")
    longest = max((attempt.latency_ms or 0.0 for attempt in attempts), default=0.0)
    rows = format_html_join("", "<li>{}</li>", ((_row(attempt, longest),) for attempt in attempts))
    return format_html('{}<ol class="ntf-timeline">{}</ol>', _legend(), rows)


def _row(attempt: NotificationAttempt, longest: float) -> SafeString:
    status = attempt.http_status_code
    return format_html(
        '<div class="ntf-attempt"><b>#{}</b> <span>{}</span> {} <span class="ntf-note">{}</span></div>{}{}{}',
        attempt.attempt_no,
        show.moment(attempt.created_at, precise=True),
        show.badge(attempt.status, None if status is None else f"HTTP {status}"),
        f"remote IP {attempt.remote_ip}" if attempt.remote_ip else "",
        _error(attempt),
        _bar(attempt, longest),
        _response(attempt),
    )


def _error(attempt: NotificationAttempt) -> SafeString:
    if attempt.error_code is None:
        return SafeString("")
    return format_html("<div><b>{}</b> {}</div>", attempt.error_code, show.text(attempt.error_message))


def phases(attempt: NotificationAttempt) -> list[tuple[str, str, float]]:
    """Style, name and milliseconds of what the attempt's time was spent on; what is left is reading, or waiting in vain."""
    named = (("dns", "DNS", attempt.dns_ms), ("connect", "connect", attempt.connect_ms), ("tls", "TLS", attempt.tls_ms))
    found = [(style, name, value) for style, name, value in (*named, ("wait", "wait", attempt.ttfb_ms)) if value]
    rest = (attempt.latency_ms or 0.0) - sum(value for _, _, value in found)
    return [*found, ("rest", "rest", rest)] if rest >= 0.05 else found


def _bar(attempt: NotificationAttempt, longest: float) -> SafeString:
    if attempt.latency_ms is None:
        return SafeString("")
    parts, at = [], 0.0
    scale = BAR_WIDTH / longest if longest else 0.0
    for style, name, value in phases(attempt):
        width = max(value * scale, LEAST_WIDTH)
        parts.append((style, f"{at:.1f}", f"{width:.1f}", f"{name} {value:.1f} ms"))
        at += width
    rects = format_html_join(
        "", '<rect class="ntf-{}" x="{}" y="0" width="{}" height="10"><title>{}</title></rect>', parts
    )
    spent = ", ".join(f"{name} {value:.1f}" for _, name, value in phases(attempt))
    return format_html(
        '<div class="ntf-spent"><svg class="ntf-bar" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        '<b>{} ms</b> <span class="ntf-note">{}</span></div>',
        f"{max(BAR_WIDTH, at):.0f}", spent, rects, f"{attempt.latency_ms:.1f}", spent,
    )  # fmt: skip


def _legend() -> SafeString:
    names = (
        ("dns", "DNS"),
        ("connect", "connect"),
        ("tls", "TLS"),
        ("wait", "wait for the first byte"),
        ("rest", "rest"),
    )
    keys = format_html_join(
        " ",
        '<span><svg class="ntf-key-box" viewBox="0 0 10 10"><rect class="ntf-{}" width="10" height="10"/></svg> {}</span>',
        names,
    )
    note = f"Newest first, at most {SHOWN_ATTEMPTS}; ended at (UTC)."
    return format_html('<p class="ntf-note ntf-legend">{} {}</p>', note, keys)


def _response(attempt: NotificationAttempt) -> SafeString:
    """Head and beginning of the body, as the record has them: redacted and bounded. Opened by a click."""
    if not attempt.response_headers and not attempt.response_body:
        return SafeString("")
    body = show.block(attempt.response_body) if attempt.response_body else SafeString("")
    return format_html("<details><summary>response</summary>{}{}</details>", show.pairs(attempt.response_headers), body)
