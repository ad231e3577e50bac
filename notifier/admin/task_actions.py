"""Operating tasks from the admin: actions on the list and buttons on a task's page, both the same acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse

from notifier import operating
from notifier.admin import history, replacement
from notifier.admin.base import ReadOnlyAdmin
from notifier.audit import by_user
from notifier.models import NotificationTask, Status
from notifier.models.task import UNFINISHED
from notifier.wake import publisher

REQUEUEABLE = (Status.FAILED, Status.DEAD)
# name → what the button says, what it does, and from which states
BUTTONS = {
    "requeue": ("Requeue", "Make it due now, with a fresh budget of attempts.", REQUEUEABLE),
    "cancel": ("Cancel", "No further attempt; one in flight is still recorded.", UNFINISHED),
}


class TaskOperations(ReadOnlyAdmin):
    actions = ("requeue", "cancel")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who has Django's change permission may requeue and cancel."""
        return request.user.has_perm("notifier.change_notificationtask")

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
        kept = max(len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))), len(tasks)) - len(moved)
        history.log(request, moved, f"{done.capitalize()}.")
        if moved:
            self.message_user(request, f"{_tasks(len(moved))} {done}.", messages.SUCCESS)
        if kept:
            self.message_user(
                request, f"{_tasks(kept)} not {done}: only those that are {legal} can be.", messages.WARNING
            )
        return moved

    # --- Buttons ---

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path(
                "<path:object_id>/operate/<str:name>/",
                wrap(self.operate_view),
                name="notifier_notificationtask_operate",
            ),
            path("<path:object_id>/replace/", wrap(self.replace_view), name="notifier_notificationtask_replace"),
            *super().get_urls(),
        ]

    def operate_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """What a button on the task's page does."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        task = self._task(request, object_id)
        if name not in BUTTONS:
            raise Http404
        getattr(self, name)(request, NotificationTask.objects.filter(pk=task.pk))
        return HttpResponseRedirect(reverse("admin:notifier_notificationtask_change", args=(task.pk,)))

    def replace_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of "requeue with changes", and what it does."""
        return replacement.view(self, request, self._task(request, object_id))

    def _task(self, request: HttpRequest, object_id: str) -> NotificationTask:
        if not self.has_operate_permission(request):
            raise PermissionDenied
        task = self.get_object(request, unquote(object_id))
        if task is None:
            raise Http404
        return task  # type: ignore[no-any-return]  # the theme has no types

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The buttons for what is possible now."""
        task: NotificationTask | None = context.get("original")
        if task is not None and self.has_operate_permission(request):
            context["operations"] = [
                {
                    "address": reverse("admin:notifier_notificationtask_operate", args=(task.pk, name)),
                    "label": label,
                    "consequence": says,
                }
                for name, (label, says, states) in BUTTONS.items()
                if task.status in states
            ]
            if task.status in REQUEUEABLE:
                context["replace_address"] = reverse("admin:notifier_notificationtask_replace", args=(task.pk,))
        return super().render_change_form(request, context, *args, **kwargs)


def _tasks(count: int) -> str:
    return "1 task was" if count == 1 else f"{count} tasks were"
