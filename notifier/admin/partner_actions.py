"""Operating partners from the admin: actions on the list and buttons on a partner's page, both the same acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html

from notifier import clock, operating
from notifier.admin import history, partner_trial
from notifier.admin.base import BaseAdmin
from notifier.audit import by_user
from notifier.models import Partner, PartnerState
from notifier.operating import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An operation with its words. ``possible`` decides whether the button is shown; the operation itself, whether it is legal."""

    name: str
    label: str
    consequence: str
    operation: Operation
    noun: str
    done: str
    legal: str
    possible: Callable[[PartnerState, datetime], bool]

    def sentence(self, count: int, *, done: bool) -> str:
        """``2 partners were paused.``"""
        what = f"1 {self.noun} was" if count == 1 else f"{count} {self.noun}s were"
        return f"{what} {self.done}." if done else f"{what} not {self.done}: only those that are {self.legal} can be."


ACTS = (
    Act(
        name="pause",
        label="Pause",
        consequence="accept notifications, and let them wait",
        operation=operating.PAUSE,
        noun="partner",
        done="paused",
        legal="not paused",
        possible=lambda state, now: state.paused_at is None,
    ),
    Act(
        name="resume",
        label="Resume",
        consequence="send again",
        operation=operating.RESUME,
        noun="partner",
        done="resumed",
        legal="paused",
        possible=lambda state, now: state.paused_at is not None,
    ),
    Act(
        name="close_circuit",
        label="Close circuit",
        consequence="send again, without waiting for a probe",
        operation=operating.CLOSE_CIRCUIT,
        noun="circuit",
        done="closed",
        legal="open or half-open",
        possible=lambda state, now: state.circuit_state != PartnerState.CircuitState.CLOSED,
    ),
    Act(
        name="open_circuit",
        label="Open circuit",
        consequence="send nothing, not even a probe, until it is closed",
        operation=operating.OPEN_CIRCUIT,
        noun="circuit",
        done="opened",
        legal="not open by hand",
        possible=lambda state, now: (
            state.circuit_state != PartnerState.CircuitState.OPEN or state.circuit_probe_at is not None
        ),
    ),
    Act(
        name="release_hold",
        label="Release hold",
        consequence="do not wait for the end of its Retry-After",
        operation=operating.RELEASE_HOLD,
        noun="hold",
        done="released",
        legal="not over",
        possible=lambda state, now: state.hold_until is not None and state.hold_until > now,
    ),
)


def _on_list(act: Act) -> Any:
    @admin.action(description=f"{act.label}: {act.consequence}", permissions=["operate"])
    def action(model_admin: PartnerOperations, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        partners = list(queryset.order_by("pk"))
        # Counted against what was ticked: a partner may have left the filter since the page was shown.
        ticked = max(len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))), len(partners))
        model_admin.act(request, act, partners, ticked)

    action.__name__ = act.name
    return action


class PartnerOperations(BaseAdmin):
    actions = tuple(_on_list(act) for act in ACTS)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Operators may do all of this without being allowed to change the configuration."""
        return request.user.has_perm("notifier.operate_partner")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Deleting is for one partner at a time, on its own page, which says why when it cannot be."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.operate_view)
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/operate/<str:name>/", view, name="notifier_partner_operate"),
            path("<path:object_id>/test/", wrap(self.trial_view), name="notifier_partner_test"),
            path("<path:object_id>/preview/", wrap(self.preview_view), name="notifier_partner_preview"),
            *super().get_urls(),
        ]

    def trial_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The dry run of the connection."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        return partner_trial.view(self, request, self._partner(request, object_id))

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """When the policy in the form would try again, or what of the form cannot be used. Saves nothing."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        partner = self._partner(request, object_id)
        if not self.has_change_permission(request, partner):
            raise PermissionDenied
        form = self.get_form(request, partner, change=True)(request.POST, instance=partner)
        if form.is_valid():
            return HttpResponse(partner_trial.attempt_times(form.instance))
        return HttpResponse(format_html("It cannot be used as it stands. {}", form.errors.as_ul()))

    def _partner(self, request: HttpRequest, object_id: str) -> Partner:
        partner: Partner | None = self.get_object(request, unquote(object_id))
        if partner is None:
            raise Http404
        return partner

    def operate_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """What a button on the partner's page does."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        act = next((act for act in ACTS if act.name == name), None)
        partner = self.get_object(request, unquote(object_id))
        if act is None or partner is None:
            raise Http404
        if not self.has_operate_permission(request):
            raise PermissionDenied
        self.act(request, act, [partner], 1)
        return HttpResponseRedirect(reverse("admin:notifier_partner_change", args=(partner.pk,)))

    def act(self, request: HttpRequest, act: Act, partners: list[Partner], asked: int) -> None:
        """Do it to each, log who did it, and say to how many it was done and to how many not."""
        by = by_user(request)
        done = [partner for partner in partners if operating.operate(act.operation, partner, by=by)]
        history.log(request, done, f"{act.operation.name.capitalize()}.")
        if done:
            self.message_user(request, act.sentence(len(done), done=True), messages.SUCCESS)
        if asked > len(done):
            self.message_user(request, act.sentence(asked - len(done), done=False), messages.WARNING)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The buttons for what is possible now."""
        partner: Partner | None = context.get("original")
        if partner is not None and self.has_operate_permission(request):
            now = clock.now()
            context["operations"] = [
                {
                    "address": reverse("admin:notifier_partner_operate", args=(partner.pk, act.name)),
                    "label": act.label,
                    "consequence": f"{act.consequence[0].upper()}{act.consequence[1:]}.",
                }
                for act in ACTS
                if act.possible(partner.state, now)
            ]
            context["trial_address"] = reverse("admin:notifier_partner_test", args=(partner.pk,))
        if partner is not None and self.has_change_permission(request, partner):
            context["preview_address"] = reverse("admin:notifier_partner_preview", args=(partner.pk,))
        return super().render_change_form(request, context, *args, **kwargs)
