"""Notification tasks: read, searched, requeued and cancelled; never edited."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notifier import clock, sealing, selectors
from notifier.admin import attempts, curl, replacement, show
from notifier.admin.base import once
from notifier.admin.change_list import NewestFirst
from notifier.admin.task_actions import TaskOperations
from notifier.admin.task_filters import TYPED, PartnerFilter, StatusFilter
from notifier.models import ApiKey, NotificationTask, Partner
from notifier.time_limit import TooSlow, limited

# Tasks of as many partners as have used the same idempotency key.
MAX_FOUND = 1000
PATIENCE_SECONDS = 2.0
ADDRESS = ("http://", "https://")


class TaskList(NewestFirst):
    large = ("body", "headers", "metadata", "success_condition", "traceparent", "fingerprint")
    related = ("partner",)

    def get_results(self, request: HttpRequest) -> None:
        self.bulk_address = self._bulk_address(request)
        self._get_bounded(request)

    def _bulk_address(self, request: HttpRequest) -> str | None:
        """Where what is listed can be requeued in bulk, by those who may."""
        if not request.user.has_perm("notifier.change_notificationtask"):
            return None
        return f"{reverse('admin:notifier_bulkrequeue_start')}?{urlencode(request.GET)}"

    def _get_bounded(self, request: HttpRequest) -> None:
        """One filter is one range of an index; of several the database walks one and tries the others, for so long."""
        asked = len(self.filter_params) + bool(self.query)
        if asked < 2:
            return super().get_results(request)
        try:
            with limited(PATIENCE_SECONDS):
                return super().get_results(request)
        except TooSlow:
            sentence = (
                f"These filters together took longer than {PATIENCE_SECONDS:g} s. Narrow them by a time or a partner."
            )
            messages.error(request, sentence)
            self.queryset = self.root_queryset.none()
            return super().get_results(request)


@admin.register(NotificationTask)
class TaskAdmin(TaskOperations):
    # Methods without an ordering: to sort by a column would be to sort the table.
    list_display = ("task", "state", "request_shown", "attempts_next", "last_error_shown")
    list_filter = (StatusFilter, "dead_reason", PartnerFilter, *TYPED)
    list_filter_submit = True
    change_form_template = "admin/notifier/notificationtask/change_form.html"
    ordering = ("-task_id",)
    search_fields = ("task_id",)  # shows the box; what it finds is said in get_search_results
    search_help_text = "A whole task id, a whole idempotency key, or the beginning of an address (https://…)."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "task_id",
                    "state",
                    "related_tasks",
                    "explained",
                    "partner_link",
                    "attempts_shown",
                    "due",
                    "last_error",
                    "lease",
                )
            },
        ),
        ("Attempts", {"fields": ("attempts_timeline",)}),
        (
            "Request",
            {"fields": ("request_line", "headers_shown", "content_type", "body_shown", "condition", "traceparent")},
        ),
        ("Asked for", {"fields": ("priority", "key", "expires", "metadata_shown", "producer")}),
        ("Times (UTC)", {"fields": ("created", "updated", "finished")}),
        ("As a command", {"fields": ("as_curl",)}),
    )

    # --- The list ---

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TaskList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The filters and nothing else: any other lookup in the address would read the whole table."""
        typed = {each.parameter_name for each in (StatusFilter, PartnerFilter, *TYPED)}
        return lookup == "dead_reason__exact" or lookup in typed

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[NotificationTask], search_term: str
    ) -> tuple[QuerySet[NotificationTask], bool]:
        """Whole task ids, whole idempotency keys and beginnings of addresses, each by its index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.lower().startswith(ADDRESS):
            return selectors.sent_to(queryset, term), False
        return queryset.filter(pk__in=self._keys(term)), False

    @staticmethod
    def _keys(term: str) -> list[int]:
        # The index begins with the partner, so every partner is named: a probe each, where the key alone would be a scan.
        partners = list(Partner.objects.order_by().values_list("pk", flat=True))
        by_key = NotificationTask.objects.filter(partner__in=partners, idempotency_key=term)
        keys = list(by_key.values_list("pk", flat=True)[:MAX_FOUND])
        try:
            task_id = uuid.UUID(term)
        except ValueError:
            return keys
        return [*NotificationTask.objects.filter(task_id=task_id).values_list("pk", flat=True), *keys]

    # --- Columns and fields ---

    @admin.display(description="task, created (UTC)")
    def task(self, task: NotificationTask) -> SafeString:
        created = f"{show.moment(task.created_at)}, {show.age(clock.now() - task.created_at)} ago"
        return format_html('<span class="ntf-id">{}</span><div class="ntf-note">{}</div>', task.task_id, created)

    @admin.display(description="status")
    def state(self, task: NotificationTask) -> SafeString:
        return show.badge(task.status, task.dead_reason)

    @admin.display(description="why (UTC)")
    @once
    def explained(self, task: NotificationTask) -> SafeString:
        """What GET /v1/notify/{task_id}/explain answers."""
        return show.explanation(selectors.explain(task))

    @admin.display(description="partner")
    def partner_link(self, task: NotificationTask) -> SafeString:
        address = reverse("admin:notifier_partner_change", args=(task.partner_id,))
        return format_html('<a href="{}">{}</a>', address, task.partner.partner_id)

    @admin.display(description="partner, request")
    def request_shown(self, task: NotificationTask) -> SafeString:
        partner = show.line(task.partner.partner_id, length=40)
        request = format_html("{} {}", task.http_method, show.line(task.target_url))
        return format_html('<b>{}</b><div class="ntf-note">{}</div>', partner, request)

    @admin.display(description="request")
    def request_line(self, task: NotificationTask) -> SafeString:
        return format_html("{} {}", task.http_method, show.text(task.target_url))

    @admin.display(description="attempts, next (UTC)")
    def attempts_next(self, task: NotificationTask) -> SafeString:
        due = "" if task.next_attempt_at is None else show.moment(task.next_attempt_at)
        return format_html('{}<div class="ntf-note">{}</div>', self.attempts_shown(task), due)

    @admin.display(description="attempts")
    def attempts_shown(self, task: NotificationTask) -> str:
        """Of the present budget; and all, where the task was requeued."""
        used = f"{task.attempt_count - task.attempts_before_requeue} of {task.max_attempts}"
        return f"{used}, {task.attempt_count} in all" if task.attempts_before_requeue else used

    @admin.display(description="next attempt (UTC)")
    def due(self, task: NotificationTask) -> str:
        return show.moment(task.next_attempt_at)

    @admin.display(description="last error")
    def last_error_shown(self, task: NotificationTask) -> str | SafeString:
        if task.last_error_code is None:
            return show.NONE
        return format_html('{}<div class="ntf-note">{}</div>', task.last_error_code, show.line(task.last_error_message))

    @admin.display(description="last error")
    def last_error(self, task: NotificationTask) -> str | SafeString:
        if task.last_error_code is None:
            return show.NONE
        return format_html("{}<br>{}", task.last_error_code, show.text(task.last_error_message))

    @admin.display(description="lease until (UTC)")
    def lease(self, task: NotificationTask) -> str:
        return show.moment(task.lease_expires_at, precise=True)

    @admin.display(description="headers")
    def headers_shown(self, task: NotificationTask) -> str | SafeString:
        return show.pairs(sealing.shown_headers(task.headers))

    @admin.display(description="body")
    def body_shown(self, task: NotificationTask) -> str | SafeString:
        return show.body(task)

    @admin.display(description="success condition")
    def condition(self, task: NotificationTask) -> SafeString:
        own = task.success_condition is not None
        text = task.success_condition or task.partner.success_condition
        return format_html("{} ({})", show.text(text), "its own" if own else "the partner's")

    @admin.display(description="timeline")
    @once
    def attempts_timeline(self, task: NotificationTask) -> SafeString:
        return attempts.timeline(attempts.latest(task.pk))

    @admin.display(description="curl, without secrets")
    def as_curl(self, task: NotificationTask) -> SafeString:
        return show.copied(curl.command(task))

    @admin.display(description="replaces, replaced by")
    @once
    def related_tasks(self, task: NotificationTask) -> SafeString | str:
        """Another request in its place, or the one in whose place this is."""
        return replacement.links(task)

    @admin.display(description="idempotency key")
    def key(self, task: NotificationTask) -> str | SafeString:
        return show.text(task.idempotency_key)

    @admin.display(description="expires (UTC)")
    def expires(self, task: NotificationTask) -> str:
        return show.moment(task.expires_at)

    @admin.display(description="metadata")
    def metadata_shown(self, task: NotificationTask) -> str | SafeString:
        return show.pairs(task.metadata)

    @admin.display(description="accepted from")
    @once
    def producer(self, task: NotificationTask) -> str | SafeString:
        key = None if task.created_by_id is None else ApiKey.objects.filter(pk=task.created_by_id).first()
        return show.text(None if key is None else str(key))

    @admin.display(description="created")
    def created(self, task: NotificationTask) -> str:
        return show.moment(task.created_at, precise=True)

    @admin.display(description="updated")
    def updated(self, task: NotificationTask) -> str:
        return show.moment(task.updated_at, precise=True)

    @admin.display(description="finished")
    def finished(self, task: NotificationTask) -> str:
        return show.moment(task.finished_at, precise=True)
