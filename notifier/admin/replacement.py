"""Requeue with changes: the same request with another address or other headers, as a new task linked to the original."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from notifier import intake, operating, sealing
from notifier.admin import show
from notifier.admin.fields import HeaderLines
from notifier.audit import by_user
from notifier.models import AuditEntry, NotificationTask
from notifier.policy.destination import MAX_URL_LENGTH

MAX_LINKS = 10


class ReplacementForm(forms.Form):
    target_url = forms.CharField(
        label="Address",
        max_length=MAX_URL_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
    )
    headers = HeaderLines(
        rows=6,
        help_text="One a line, as Name: value. *** keeps a sealed value, for the same host only.",
    )


def view(model_admin: Any, request: HttpRequest, task: NotificationTask) -> HttpResponse:
    """The form; or the new task's page, once it is made."""
    initial = {"target_url": task.target_url, "headers": sealing.shown_headers(task.headers)}
    form = ReplacementForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        made = _make(model_admin, request, task, form)
        if made is not None:
            return HttpResponseRedirect(reverse("admin:notifier_notificationtask_change", args=(made.pk,)))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": f"Requeue {task.task_id} with changes",
        "original": task,
        "form": form,
    }
    return TemplateResponse(request, "admin/notifier/notificationtask/replace.html", context)


def _make(
    model_admin: Any, request: HttpRequest, task: NotificationTask, form: ReplacementForm
) -> NotificationTask | None:
    given = form.cleaned_data
    try:
        made = operating.replace(task, target_url=given["target_url"], headers=given["headers"], by=by_user(request))
    except (intake.Refused, intake.Unusable) as refused:
        form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        return None
    except operating.NotReplaceable as state:
        form.add_error(
            None, f"The task is {state} by now: only failed and dead ones can be requeued. Nothing was changed."
        )
        return None
    model_admin.message_user(request, f"Task {made.task_id} was made from {task.task_id}.", messages.SUCCESS)
    return made


def links(task: NotificationTask) -> SafeString | str:
    """The task that this one replaces, and those that replace it, by the audit trail's index."""
    entries = AuditEntry.objects.filter(object_kind="task", object_id=str(task.task_id), action="task.replace")
    replaced_by = [
        uuid.UUID(entry["replaced_by"]) for entry in entries.values_list("after", flat=True)[:MAX_LINKS] if entry
    ]
    wanted = [*replaced_by, task.replaces] if task.replaces else replaced_by
    if not wanted:
        return show.NONE
    keys = dict(NotificationTask.objects.filter(task_id__in=wanted).values_list("task_id", "pk"))
    found = [(("replaces" if each == task.replaces else "replaced by"), each) for each in wanted]
    return format_html_join(SafeString("<br>"), "{} {}", ((word, _link(each, keys.get(each))) for word, each in found))


def _link(task_id: uuid.UUID, key: int | None) -> SafeString | str:
    if key is None:
        return f"{task_id} (pruned)"
    address = reverse("admin:notifier_notificationtask_change", args=(key,))
    return format_html('<a class="ntf-link" href="{}">{}</a>', address, task_id)
