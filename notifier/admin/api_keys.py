"""API keys: made, narrowed and revoked; the key itself is shown once, its hash never."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from notifier import api_keys, clock
from notifier.admin import history, show
from notifier.admin.base import BaseAdmin
from notifier.admin.fields import Lines, as_sentences
from notifier.audit import by_user
from notifier.models import ApiKey, Scope


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    scopes = forms.MultipleChoiceField(
        required=False,
        choices=[
            (Scope.WRITE.value, "notify:write – create, cancel own"),
            (Scope.READ.value, "notify:read – read"),
            (Scope.OPERATE.value, "notify:operate – requeue, cancel any, pause and resume partners"),
        ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    partners = Lines(help_text="The ids of the only partners that the key may be used for, one a line. Empty: all.")

    class Meta:
        help_texts = {
            "rate_per_second": "The most notifications that it may hand over in a second. Empty: what the installation's setting says.",
            "expires_at": "In UTC. From then on the key is refused. Empty: never.",
        }

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                # An expiry that has passed may stay: the key has ended, and its name can be mended all the same.
                kept = "expires_at" not in self.changed_data
                wanted = {name: given[name] for name in api_keys.CHANGEABLE}
                api_keys.validate(**wanted | ({"expires_at": None} if kept else {}))
            except ValidationError as error:
                for field, sentences in error.message_dict.items():
                    self.add_error(field, as_sentences(sentences))
        return given


class RevokedFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "revoked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return ("no", "Valid"), ("yes", "Revoked")

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(revoked_at__isnull=self.value() == "no")


@admin.register(ApiKey)
class ApiKeyAdmin(BaseAdmin):
    form = ApiKeyForm
    list_display = (
        "name_shown",
        "prefix",
        "scopes_shown",
        "partners_shown",
        "created",
        "last_used",
        "expires",
        "revoked",
    )
    list_filter = (RevokedFilter,)
    search_fields = ("name", "prefix")
    search_help_text = "A part of the name, or of the key's first characters."
    ordering = ("-created_at",)
    actions = ("revoke",)
    fields = (
        "name",
        "scopes",
        "partners",
        "rate_per_second",
        "expires_at",
        "prefix",
        "created",
        "last_used",
        "revoked",
    )
    readonly_fields = ("prefix", "created", "last_used", "revoked")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Revoked keys stay: tasks name who made them."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The filter and nothing else: by ``hash__startswith`` a hash could be guessed letter by letter."""
        return lookup == RevokedFilter.parameter_name

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return self.fields[:5] if obj is None else self.fields

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Make the key and show it, this once; or save what was changed, and only that: it may be revoked meanwhile."""
        given = {name: form.cleaned_data[name] for name in api_keys.CHANGEABLE}
        if change:
            if form.changed_data:
                api_keys.change(obj, by=by_user(request), **{name: given[name] for name in form.changed_data})
            return
        made, plain = api_keys.create(by=by_user(request), **given)
        obj.pk, obj.prefix = made.pk, made.prefix
        text = 'The key of {} is <code class="ntf-key">{}</code> Copy it now: it cannot be shown again.'
        self.message_user(request, format_html(text, obj.name, plain), messages.WARNING)

    @admin.action(description="Revoke: refuse the key from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        now, by = clock.now(), by_user(request)
        revoked = [key for key in queryset.order_by("pk") if api_keys.revoke(key, now=now, by=by)]
        kept = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))) - len(revoked)
        history.log(request, revoked, "Revoked.")
        if revoked:
            self.message_user(request, f"{_keys(len(revoked))} revoked.", messages.SUCCESS)
        if kept:
            self.message_user(request, f"{_keys(kept)} revoked already.", messages.WARNING)

    @admin.display(description="name", ordering="name")
    def name_shown(self, key: ApiKey) -> str | SafeString:
        return show.line(key.name, length=60)

    @admin.display(description="scopes")
    def scopes_shown(self, key: ApiKey) -> str | SafeString:
        return show.lines(key.scopes)

    @admin.display(description="partners")
    def partners_shown(self, key: ApiKey) -> str | SafeString:
        return show.lines(key.partners) if key.partners else "all"

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, key: ApiKey) -> str:
        return show.moment(key.created_at)

    @admin.display(description="last used (UTC)", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        return show.moment(key.last_used_at)

    @admin.display(description="expires (UTC)", ordering="expires_at")
    def expires(self, key: ApiKey) -> str:
        return show.moment(key.expires_at)

    @admin.display(description="revoked (UTC)", ordering="revoked_at")
    def revoked(self, key: ApiKey) -> str:
        return show.moment(key.revoked_at)


def _keys(count: int) -> str:
    return "1 key was" if count == 1 else f"{count} keys were"
