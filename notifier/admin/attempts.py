"""Attempts, inside their task's page; nobody edits history."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notifier.admin import show
from notifier.models import NotificationAttempt

SHOWN_ATTEMPTS = 50


class LatestAttempts(BaseInlineFormSet):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    """The latest attempts only: a task that was requeued often may have hundreds."""

    def get_queryset(self) -> QuerySet[Any]:
        if not hasattr(self, "_latest"):
            self._latest = super().get_queryset()[:SHOWN_ATTEMPTS]
        return self._latest


class AttemptInline(admin.TabularInline):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    """Read-only because its task is: Django takes every edit permission from the inlines of such a page."""

    model = NotificationAttempt
    formset = LatestAttempts
    ordering = ("-attempt_no",)
    verbose_name_plural = f"attempts, newest first, at most {SHOWN_ATTEMPTS}"
    classes = ("ntf-attempts",)
    fields = readonly_fields = ("number", "ended", "outcome", "error", "milliseconds", "address", "response")
    extra = max_num = 0
    can_delete = False

    @admin.display(description="#")
    def number(self, attempt: NotificationAttempt) -> int:
        return attempt.attempt_no

    @admin.display(description="ended (UTC)")
    def ended(self, attempt: NotificationAttempt) -> str:
        return show.moment(attempt.created_at, precise=True)

    @admin.display(description="status")
    def outcome(self, attempt: NotificationAttempt) -> SafeString:
        status = attempt.http_status_code
        return show.badge(attempt.status, None if status is None else f"HTTP {status}")

    @admin.display(description="error")
    def error(self, attempt: NotificationAttempt) -> str | SafeString:
        if attempt.error_code is None:
            return show.NONE
        return format_html("<b>{}</b><br>{}", attempt.error_code, show.text(attempt.error_message))

    @admin.display(description="milliseconds")
    def milliseconds(self, attempt: NotificationAttempt) -> str | SafeString:
        """The whole, and what it was spent on."""
        if attempt.latency_ms is None:
            return show.NONE
        split = {
            "DNS": attempt.dns_ms,
            "connect": attempt.connect_ms,
            "TLS": attempt.tls_ms,
            "first byte": attempt.ttfb_ms,
        }
        spent = ", ".join(f"{name} {value:.1f}" for name, value in split.items() if value is not None)
        return format_html('<b>{}</b><div class="ntf-note">{}</div>', f"{attempt.latency_ms:.1f}", spent)

    @admin.display(description="remote IP")
    def address(self, attempt: NotificationAttempt) -> str | SafeString:
        return show.text(attempt.remote_ip)

    @admin.display(description="response")
    def response(self, attempt: NotificationAttempt) -> str | SafeString:
        """Head and beginning of the body, as the record has them: redacted and bounded. Opened by a click."""
        if not attempt.response_headers and not attempt.response_body:
            return show.NONE
        body = show.block(attempt.response_body) if attempt.response_body else SafeString("")
        return format_html("<details><summary>show</summary>{}{}</details>", show.pairs(attempt.response_headers), body)
