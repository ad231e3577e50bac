"""Bulk requeues: begun from a filter with a preview of how many match, watched, stopped."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from notifier import bulk_requeue, clock
from notifier.admin import charts, show
from notifier.admin.base import ReadOnlyAdmin
from notifier.admin.change_list import NewestFirst
from notifier.admin.task_filters import TIME_HELP, Unreadable, read_label, read_time
from notifier.audit import by_user
from notifier.models import BulkRequeue, Partner
from notifier.models.task import DeadReason
from notifier.selectors import TaskFilter
from notifier.time_limit import TooSlow, limited

DEFAULT_RATE = 50
COUNT_SECONDS = 5.0
# The task list's parameters, by the form's fields.
FROM_LIST = {
    "partner": "partner", "dead_reason__exact": "dead_reason", "error": "error", "after": "after", "before": "before", "label": "label",
}  # fmt: skip


def _typed(label: str, help_text: str = "") -> forms.CharField:
    return forms.CharField(label=label, required=False, help_text=help_text, widget=UnfoldAdminTextInputWidget)


class StartForm(forms.Form):
    partner = _typed("Partner", "Its whole id.")
    dead_reason = forms.ChoiceField(
        label="Dead because",
        required=False,
        choices=[("", "any reason"), *DeadReason.choices],
        widget=UnfoldAdminSelectWidget,
    )
    error = _typed("Last error code", "Such as http_503 or connect_timeout.")
    after = _typed("Created after", TIME_HELP)
    before = _typed("Created before", TIME_HELP)
    label = _typed("Label", "name=value")
    per_second = forms.IntegerField(
        label="Tasks a second",
        min_value=1,
        max_value=bulk_requeue.MAX_PER_SECOND,
        initial=DEFAULT_RATE,
        widget=UnfoldAdminTextInputWidget,
        help_text="So that a partner that has just come back is not flooded; its own limits hold besides.",
    )

    def clean_partner(self) -> str:
        name: str = self.cleaned_data["partner"].strip()
        if name and not Partner.objects.filter(partner_id=name).exists():
            raise ValidationError("There is no such partner.")
        return name

    def _read(self, field: str, read: Any) -> Any:
        text = self.cleaned_data[field].strip()
        try:
            return read(text) if text else None
        except Unreadable as error:
            raise ValidationError(str(error)) from None

    def clean_after(self) -> Any:
        return self._read("after", read_time)

    def clean_before(self) -> Any:
        return self._read("before", read_time)

    def clean_label(self) -> Any:
        return self._read("label", read_label)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and self.wanted() == TaskFilter():
            raise ValidationError("Narrow it by at least one of these: without a filter it would be every dead task.")
        return given

    def wanted(self) -> TaskFilter:
        given = self.cleaned_data
        return TaskFilter(
            partner_id=given["partner"] or None,
            dead_reason=given["dead_reason"] or None,
            error_code=given["error"].strip() or None,
            created_after=given["after"],
            created_before=given["before"],
            metadata=dict([given["label"]]) if given["label"] else {},
        )


@admin.register(BulkRequeue)
class BulkRequeueAdmin(ReadOnlyAdmin):
    list_display = ("begun", "state_shown", "progress", "rate", "filter_shown", "actor")
    ordering = ("-pk",)
    actions = None
    change_form_template = "admin/notifier/bulkrequeue/change_form.html"
    change_list_template = "admin/notifier/bulkrequeue/change_list.html"
    fields = readonly_fields = (
        "state_shown", "progress", "rate", "filter_shown", "actor", "begun", "last_step", "ended", "note",
    )  # fmt: skip

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who may requeue one task may requeue many."""
        return request.user.has_perm("notifier.change_notificationtask")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NewestFirst]:
        return NewestFirst

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("start/", wrap(self.start_view), name="notifier_bulkrequeue_start"),
            path("<path:object_id>/stop/", wrap(self.stop_view), name="notifier_bulkrequeue_stop"),
            *super().get_urls(),
        ]

    def start_view(self, request: HttpRequest) -> HttpResponse:
        """The form; with ``preview`` how many match; posted with ``begin`` the bulk requeue itself."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        matched: str | None = None
        if request.method == "POST":
            form = StartForm(request.POST)
            if form.is_valid():
                if "begin" in request.POST:
                    return self._begin(request, form)
                matched = _matched(form)
        else:
            given = {field: request.GET[name] for name, field in FROM_LIST.items() if name in request.GET}
            if (http := request.GET.get("http", "")).isdigit():
                given.setdefault("error", f"http_{http}")
            form = StartForm(initial={"per_second": DEFAULT_RATE} | given)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": "Requeue dead tasks in bulk",
            "form": form,
            "matched": matched,
        }
        return TemplateResponse(request, "admin/notifier/bulkrequeue/start.html", context)

    def _begin(self, request: HttpRequest, form: StartForm) -> HttpResponse:
        job = bulk_requeue.begin(form.wanted(), per_second=form.cleaned_data["per_second"], by=by_user(request))
        self.message_user(
            request, "It has begun; the workers go on with it, whatever becomes of this page.", messages.SUCCESS
        )
        return HttpResponseRedirect(reverse("admin:notifier_bulkrequeue_change", args=(job.pk,)))

    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_operate_permission(request):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404
        if bulk_requeue.stop(job, by=by_user(request)):
            self.message_user(
                request, f"It was stopped after {job.requeued:,} tasks; those stay requeued.", messages.SUCCESS
            )
        else:
            self.message_user(request, "It had ended already. Nothing was changed.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:notifier_bulkrequeue_change", args=(job.pk,)))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        start = reverse("admin:notifier_bulkrequeue_start") if self.has_operate_permission(request) else None
        return super().changelist_view(request, {"start_address": start} | (extra_context or {}))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        job: BulkRequeue | None = context.get("original")
        if job is not None and job.state == BulkRequeue.State.RUNNING and self.has_operate_permission(request):
            address = reverse("admin:notifier_bulkrequeue_stop", args=(job.pk,))
            context["operations"] = [
                {"address": address, "label": "Stop", "consequence": "What was requeued stays so."}
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="begun (UTC)")
    def begun(self, job: BulkRequeue) -> str:
        return show.moment(job.created_at)

    @admin.display(description="last step (UTC)")
    def last_step(self, job: BulkRequeue) -> str:
        return f"{show.moment(job.updated_at)}, {show.age(clock.now() - job.updated_at)} ago"

    @admin.display(description="ended (UTC)")
    def ended(self, job: BulkRequeue) -> str:
        return show.moment(job.ended_at)

    @admin.display(description="state")
    def state_shown(self, job: BulkRequeue) -> SafeString:
        return show.badge(job.state)

    @admin.display(description="requeued")
    def progress(self, job: BulkRequeue) -> SafeString:
        of = f"{job.matched:,}{'+' if job.matched >= bulk_requeue.COUNT_BOUND else ''}"
        ended = job.state == BulkRequeue.State.DONE
        return format_html(
            "{}<div>{} of {}</div>",
            charts.progress(job.requeued, job.requeued if ended else job.matched),
            f"{job.requeued:,}",
            of,
        )

    @admin.display(description="a second")
    def rate(self, job: BulkRequeue) -> str:
        return "as fast as it goes" if job.per_second is None else str(job.per_second)

    @admin.display(description="filter")
    def filter_shown(self, job: BulkRequeue) -> str | SafeString:
        only = {"partners of the key": ", ".join(job.partners)} if job.partners else {}
        return show.pairs({name: str(value) for name, value in (job.wanted | only).items()})


def _matched(form: StartForm) -> str:
    try:
        with limited(COUNT_SECONDS):
            count = bulk_requeue.count(form.wanted())
    except TooSlow:
        return "Counting took too long; narrow it by a partner or a time."
    more = " or more" if count >= bulk_requeue.COUNT_BOUND else ""
    return "No dead task matches." if not count else f"{count:,}{more} dead tasks match."
