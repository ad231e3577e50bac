"""Notification tasks: read, searched, requeued and cancelled; never edited."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notifier import operating, sealing, selectors
from notifier.admin import history, show
from notifier.admin.attempts import AttemptInline
from notifier.admin.base import BaseAdmin
from notifier.admin.change_list import NewestFirst
from notifier.audit import by_user
from notifier.models import ApiKey, NotificationTask, Partner
from notifier.wake import publisher

FILTER_PARTNERS = 25
# Tasks of as many partners as have used the same idempotency key.
MAX_FOUND = 1000


class PartnerFilter(admin.SimpleListFilter):
    """The first partners by name; a partner's own page leads to the tasks of any other."""

    title = "partner"
    parameter_name = "partner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = list(Partner.objects.values_list("partner_id", flat=True)[: FILTER_PARTNERS + 1])
        if len(names) > FILTER_PARTNERS:
            names.pop()
            self.title = f"partner (the first {FILTER_PARTNERS}; for others, go by their page)"
        chosen = self.value()
        return [(name, name) for name in ([chosen, *names] if chosen and chosen not in names else names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[NotificationTask]) -> QuerySet[NotificationTask]:
        return queryset.filter(partner__partner_id=self.value()) if self.value() else queryset


class TaskList(NewestFirst):
    large = ("body", "headers", "metadata", "success_condition", "traceparent", "fingerprint")
    related = ("partner",)


@admin.register(NotificationTask)
class TaskAdmin(BaseAdmin):
    # Methods without an ordering: to sort by a column would be to sort the table.
    list_display = ("task", "state", "request_shown", "attempts_next", "last_error_shown")
    list_filter = ("status", "dead_reason", PartnerFilter)
    ordering = ("-task_id",)
    search_fields = ("task_id",)  # shows the box; what it finds is said in get_search_results
    search_help_text = "A whole task id, or a whole idempotency key."
    actions = ("requeue", "cancel")
    inlines = (AttemptInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "task_id",
                    "state",
                    "explained",
                    "partner_link",
                    "attempts_shown",
                    "due",
                    "last_error",
                    "lease",
                )
            },
        ),
        (
            "Request",
            {"fields": ("request_line", "headers_shown", "content_type", "body_shown", "condition", "traceparent")},
        ),
        ("Asked for", {"fields": ("priority", "key", "expires", "metadata_shown", "producer")}),
        ("Times (UTC)", {"fields": ("created", "updated", "finished")}),
    )

    # --- Who may do what ---

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never by form: a status changes in ``notifier.lifecycle`` alone."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who has Django's change permission may requeue and cancel."""
        return request.user.has_perm("notifier.change_notificationtask")

    # --- The list ---

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TaskList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The filters and nothing else: any other lookup in the address would read the whole table."""
        return lookup in ("status__exact", "dead_reason__exact", PartnerFilter.parameter_name)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[NotificationTask], search_term: str
    ) -> tuple[QuerySet[NotificationTask], bool]:
        """Whole task ids and whole idempotency keys, each by its index."""
        term = search_term.strip()
        if not term:
            return queryset, False
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

    # --- Actions ---

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[NotificationTask], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Only rows that were on the page and ticked: "all that match" may be millions."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if request.POST.get("select_across", "0") == "0" and all(key.isascii() and key.isdigit() for key in chosen):
            return super().response_action(request, queryset, *args, **kwargs)
        self.message_user(
            request, "Only tasks that are ticked on the page can be acted on. None was changed.", messages.ERROR
        )
        return HttpResponseRedirect(request.get_full_path())

    @admin.action(description="Requeue: due now, with a fresh budget of attempts", permissions=["operate"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[NotificationTask]) -> None:
        moved = self._each(request, queryset, "requeued", "failed or dead", operating.requeue)
        if moved:
            publisher.wake({task.partner.partner_id for task in moved})

    @admin.action(description="Cancel: no further attempt", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[NotificationTask]) -> None:
        self._each(request, queryset, "cancelled", "pending, failed or running", operating.cancel)

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[NotificationTask],
        done: str,
        legal: str,
        act: Callable[..., bool],
    ) -> list[NotificationTask]:
        """Try the act on each task, log who did it, and say how many moved and how many did not."""
        by = by_user(request)
        tasks = queryset.order_by("pk").prefetch_related("partner")
        moved = [task for task in tasks if act(task, by=by)]
        # Counted against what was ticked: a task may have left the filter, or the state, since the page was shown.
        kept = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))) - len(moved)
        history.log(request, moved, f"{done.capitalize()}.")
        if moved:
            self.message_user(request, f"{_tasks(len(moved))} {done}.", messages.SUCCESS)
        if kept:
            self.message_user(
                request, f"{_tasks(kept)} not {done}: only those that are {legal} can be.", messages.WARNING
            )
        return moved

    # --- Columns and fields ---

    @admin.display(description="task, created (UTC)")
    def task(self, task: NotificationTask) -> SafeString:
        created = show.moment(task.created_at)
        return format_html('<span class="ntf-id">{}</span><div class="ntf-note">{}</div>', task.task_id, created)

    @admin.display(description="status")
    def state(self, task: NotificationTask) -> SafeString:
        return show.badge(task.status, task.dead_reason)

    @admin.display(description="why (UTC)")
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


def _tasks(count: int) -> str:
    return "1 task was" if count == 1 else f"{count} tasks were"
