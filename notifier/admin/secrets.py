"""Partners' secrets: written and erased, never read. Only those in the database; other stores have tools of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget

from notifier import audit, clock
from notifier.admin import show
from notifier.admin.base import BaseAdmin
from notifier.admin.fields import as_sentences
from notifier.models import PartnerSecret
from notifier.secret_store import database

MAX_OVERLAP_HOURS = database.MAX_OVERLAP // timedelta(hours=1)


class WriteOnly(UnfoldAdminTextareaWidget):  # type: ignore[misc]  # unfold has no types
    """Never shows what was given to it, not even beside an error."""

    def format_value(self, value: Any) -> str | None:
        return None


class SecretForm(forms.ModelForm):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    value = forms.CharField(
        strip=False,
        widget=WriteOnly(attrs={"rows": 4, "cols": 80, "spellcheck": "false", "autocomplete": "off"}),
        help_text="Stored encrypted, and never shown again. Line breaks at its end do not belong to it.",
    )
    overlap_hours = forms.FloatField(
        initial=0,
        min_value=0,
        max_value=MAX_OVERLAP_HOURS,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="For how long earlier versions of a signing secret still sign beside this one.",
    )

    class Meta:
        model = PartnerSecret
        fields = ("partner", "name")
        help_texts = {"name": "As it is named in {{secret:name}}. A name that exists gets a new version."}

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            # A text area sends CRLF for every line break.
            given["value"] = given["value"].replace("\r\n", "\n").rstrip("\n")
            given["overlap"] = timedelta(hours=given["overlap_hours"])
            try:
                database.validate(name=given["name"], value=given["value"], overlap=given["overlap"])
            except ValidationError as error:
                for field, sentences in error.message_dict.items():
                    self.add_error("overlap_hours" if field == "overlap" else field, as_sentences(sentences))
        return given

    def _get_validation_exclusions(self) -> set[str]:
        # The version is made when it is saved.
        return {*super()._get_validation_exclusions(), "version"}  # type: ignore[misc]  # Django documents it in its source only


@admin.register(PartnerSecret)
class SecretAdmin(BaseAdmin):
    form = SecretForm
    list_display = ("name", "partner", "version", "created", "retires")
    list_select_related = ("partner",)
    ordering = ("partner__partner_id", "name", "-version")
    search_fields = ("name", "partner__partner_id")
    search_help_text = "A part of the secret's name, or of its partner's id."
    autocomplete_fields = ("partner",)
    fields = ("partner", "name", "version", "created", "retires")
    readonly_fields = ("partner", "name", "version", "created", "retires")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return settings.NOTIFIER_SECRETS_BACKEND == "database" and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A version is what it is; another value is another version."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """None: by ``sealed__startswith`` the stored form could be guessed letter by letter."""
        return False

    def get_fields(self, request: HttpRequest, obj: PartnerSecret | None = None) -> tuple[str, ...]:
        return ("partner", "name", "value", "overlap_hours") if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: PartnerSecret | None = None) -> tuple[str, ...]:
        return () if obj is None else self.readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[PartnerSecret]:
        return super().get_queryset(request).defer("sealed")

    @method_decorator(sensitive_post_parameters("value"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: PartnerSecret, form: Any, change: bool) -> None:
        given = form.cleaned_data
        by = audit.by_user(request)
        made = database.put(obj.partner, obj.name, given["value"], overlap=given["overlap"], now=clock.now(), by=by)
        obj.pk, obj.version = made.pk, made.version

    def delete_model(self, request: HttpRequest, obj: PartnerSecret) -> None:
        database.remove(obj.partner, obj.name, version=obj.version, by=audit.by_user(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PartnerSecret]) -> None:
        for secret in queryset:
            self.delete_model(request, secret)

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, secret: PartnerSecret) -> str:
        return show.moment(secret.created_at)

    @admin.display(description="retires (UTC)", ordering="retires_at")
    def retires(self, secret: PartnerSecret) -> str:
        return show.moment(secret.retires_at)
