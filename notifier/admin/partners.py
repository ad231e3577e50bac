"""Partners: edited here or by ``manage.py apply_partners``, by the same rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import ProtectedError, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from notifier import audit, clock, overview, sealing
from notifier.admin import partner_trial, show
from notifier.admin.change_list import ChangeList
from notifier.admin.partner_actions import PartnerOperations
from notifier.admin.partner_form import PartnerForm
from notifier.backlog import LIST_BOUND, Backlog, backlogs
from notifier.models import NotificationTask, Partner, PartnerState
from notifier.overview import Health
from notifier.secret_store import database

# What holds the partner back or not: shown, and changed by buttons, not by the form.
STATE = ("paused", "hold", "circuit")
CLOSED = PartnerState.CircuitState.CLOSED


class StandingFilter(admin.SimpleListFilter):
    """By each thing that may hold a partner back; several may at once."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return (
            ("disabled", "Disabled"), ("paused", "Paused"), ("circuit", "Circuit open or half-open"), ("held", "Held"),
        )  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: QuerySet[Partner]) -> QuerySet[Partner]:
        match self.value():
            case "disabled":
                return queryset.filter(enabled=False)
            case "paused":
                return queryset.filter(state__paused_at__isnull=False)
            case "circuit":
                return queryset.exclude(state__circuit_state=CLOSED)
            case "held":
                return queryset.filter(state__hold_until__gt=clock.now())
            case _:
                return queryset


class PartnerList(ChangeList):
    """Each partner on the page with its backlog and the health of its last hour, for all of them in a few statements."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        partners = list(self.result_list)
        keys, now = [partner.pk for partner in partners], clock.read()
        waiting, health = backlogs(keys, now=now, bound=LIST_BOUND), overview.health(keys, now=now)
        for partner in partners:
            partner.__dict__["glance"] = waiting[partner.pk], health.get(partner.pk, Health(None, None)), now
        self.result_list = partners


@admin.register(Partner)
class PartnerAdmin(PartnerOperations):
    form = PartnerForm
    list_display = (
        "identity",
        "standing",
        "backlog_shown",
        "oldest",
        "success",
        "latency",
        "retries",
        "hosts",
        "tasks",
    )
    list_filter = (StandingFilter,)
    list_select_related = ("state",)
    change_form_template = "admin/notifier/partner/change_form.html"
    search_fields = ("partner_id", "name")
    search_help_text = "A part of the partner's id or name."

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PartnerList

    def get_fieldsets(self, request: HttpRequest, obj: Partner | None = None) -> Any:
        """Who may only look gets the headers masked too: Django would show the column as it is stored."""
        looks = obj is not None and not self.has_change_permission(request, obj)
        first = ("partner_id", "name", "enabled")
        retry = (
            "max_attempts", "max_age_hours", "retry_base_seconds", "retry_factor", "retry_max_seconds", "retry_jitter",
            "retry_schedule",
        )  # fmt: skip
        sections: dict[str | None, tuple[str, ...]] = {
            None: first if obj is None else (*first, "tasks", *STATE),
            "Where it may be reached": (
                "allow_hosts", "allow_private_cidrs", "headers_shown" if looks else "headers",
            ),
            "Authentication and secrets": ("auth", "signing_secrets", "client_certificate", "seal_bodies"),
            "Time-outs": ("connect_timeout_seconds", "timeout_seconds"),
            "Retry": retry if obj is None else (*retry, "attempt_times"),
            "What counts as success": ("success_condition", "permanent_statuses"),
            "Limits, none where empty": ("rate_per_second", "burst", "max_concurrency"),
            "Circuit": (
                "circuit_failure_ratio", "circuit_min_attempts", "circuit_window_seconds", "circuit_pause_seconds",
                "circuit_max_pause_seconds",
            ),
        }  # fmt: skip
        return [(title, {"fields": fields}) for title, fields in sections.items()]

    def get_readonly_fields(self, request: HttpRequest, obj: Partner | None = None) -> tuple[str, ...]:
        """The id is for ever: producers and API keys name it."""
        shown = ("tasks", "headers_shown", "attempt_times", *STATE)
        return shown if obj is None else ("partner_id", *shown)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "success_condition":
            kwargs["widget"] = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Partner, form: Any, change: bool) -> None:
        """Save what was changed, and only that: the API may pause the partner at the same time."""
        old = Partner.objects.select_for_update().get(pk=obj.pk) if change else None
        if not change:
            obj.save(force_insert=True)
        elif form.changed_data:
            obj.save(update_fields=[*form.changed_data, "updated_at"])
        audit.record_partner(audit.by_user(request), obj, old)

    def delete_model(self, request: HttpRequest, obj: Partner) -> None:
        """In the transaction of Django's own view."""
        by, before = audit.by_user(request), audit.partner_state(obj)
        for name in sorted(set(obj.secrets.values_list("name", flat=True))):
            database.remove(obj, name, by=by)
        audit.record(by, "partner.delete", object_kind="partner", object_id=obj.partner_id, before=before)
        obj.delete()

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Refuse, with a sentence, while the partner has tasks. They are looked for, never collected: there may be millions."""
        partner = self.get_object(request, unquote(object_id))
        if partner is None or not self.has_delete_permission(request, partner):
            return super().delete_view(request, object_id, extra_context)
        try:
            if not NotificationTask.objects.filter(partner=partner).exists():
                return super().delete_view(request, object_id, extra_context)
        except ProtectedError:
            pass  # accepted between the look and the deletion
        self.message_user(
            request, f"Partner {partner} has tasks and cannot be deleted. To stop it, disable it.", messages.ERROR
        )
        return HttpResponseRedirect(reverse("admin:notifier_partner_change", args=(partner.pk,)))

    @admin.display(description="partner", ordering="partner_id")
    def identity(self, partner: Partner) -> str | SafeString:
        return format_html(
            '{}<div class="ntf-note">{}</div>', show.text(partner.partner_id), show.line(partner.name, length=40)
        )

    @admin.display(description="state")
    def standing(self, partner: Partner) -> SafeString:
        """All that holds it back. Disabled refuses new notifications and delivers none; paused accepts them and lets them wait."""
        state = partner.state
        badges = [
            show.badge("disabled") if not partner.enabled else "",
            show.badge("paused") if state.paused_at is not None else "",
            show.badge("circuit", state.circuit_state.replace("_", "-")) if state.circuit_state != CLOSED else "",
            show.badge("held") if _is_held(state) else "",
        ]
        return format_html_join(" ", "{}", ((badge,) for badge in badges if badge)) or show.badge("active")

    @admin.display(description="paused (UTC)")
    def paused(self, partner: Partner) -> str | SafeString:
        since = partner.state.paused_at
        return "no" if since is None else show.standing("paused", f"since {show.moment(since)}")

    @admin.display(description="hold (UTC)")
    def hold(self, partner: Partner) -> str | SafeString:
        """A Retry-After of the partner's, while it is not over."""
        state = partner.state
        if not _is_held(state):
            return "none"
        return show.standing("held", f"since {show.moment(state.held_at)}, until {show.moment(state.hold_until)}")

    @admin.display(description="circuit (UTC)")
    def circuit(self, partner: Partner) -> SafeString:
        circuit = partner.state.circuit
        facts = [circuit.reason] if circuit.reason else []
        if circuit.since is not None:
            facts.append(f"since {show.moment(circuit.since)}")
        if circuit.probe_at is not None:
            facts.append(f"next probe at {show.moment(circuit.probe_at)}")
        return show.standing(circuit.state.value, "; ".join(facts))

    @admin.display(description="backlog")
    def backlog_shown(self, partner: Partner) -> str | SafeString:
        waiting, _, _ = _glance(partner)
        counts = (("waiting", waiting.waiting), ("due", waiting.due), ("dead", waiting.dead))
        shown = [f"{name} {count:,}{'+' if name in waiting.lower_bounds else ''}" for name, count in counts if count]
        return show.lines([*shown, *([f"running {waiting.running:,}"] if waiting.running else [])])

    @admin.display(description="oldest due")
    def oldest(self, partner: Partner) -> str:
        """For how long the one that has been due longest has waited."""
        waiting, _, now = _glance(partner)
        return show.NONE if waiting.oldest_due_at is None else show.age(now - waiting.oldest_due_at)

    @admin.display(description="succeeded, 1 h")
    def success(self, partner: Partner) -> str:
        share = _glance(partner)[1].success_ratio
        return show.NONE if share is None else f"{share:.1%}"

    @admin.display(description="p95, 1 h")
    def latency(self, partner: Partner) -> str:
        p95 = _glance(partner)[1].p95
        return show.NONE if p95 is None else f"{p95:,.0f} ms"

    @admin.display(description="attempts come")
    def attempt_times(self, partner: Partner) -> SafeString:
        """As the policy is stored; the button below asks for what is in the form."""
        return partner_trial.attempt_times(partner)

    @admin.display(description="hosts")
    def hosts(self, partner: Partner) -> str | SafeString:
        return show.lines(partner.allow_hosts)

    @admin.display(description="attempts")
    def retries(self, partner: Partner) -> str:
        kind = "schedule" if partner.retry_schedule else "backoff"
        return f"{partner.max_attempts}, {kind}"

    @admin.display(description="headers")
    def headers_shown(self, partner: Partner) -> str | SafeString:
        return show.pairs(sealing.shown_headers(partner.headers))

    @admin.display(description="tasks")
    def tasks(self, partner: Partner) -> SafeString:
        address = reverse("admin:notifier_notificationtask_changelist")
        return format_html('<a href="{}?{}">its tasks</a>', address, urlencode({"partner": partner.partner_id}))


def _glance(partner: Partner) -> tuple[Backlog, Health, datetime]:
    """What ``PartnerList`` read for it, and when."""
    return cast(tuple[Backlog, Health, datetime], partner.__dict__["glance"])


def _is_held(state: PartnerState) -> bool:
    return state.hold_until is not None and state.hold_until > clock.now()
