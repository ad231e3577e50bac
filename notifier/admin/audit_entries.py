"""The audit trail, for those who may read it; nobody adds, changes or deletes an entry here."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notifier.admin import show
from notifier.admin.base import ReadOnlyAdmin
from notifier.admin.change_list import NewestFirst
from notifier.models import AuditEntry

OBJECT_KINDS = ("partner", "key", "task", "secret", "bulk_requeue")


class TrailList(NewestFirst):
    large = ("before", "after")


class ObjectKindFilter(admin.SimpleListFilter):
    title = "object"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in OBJECT_KINDS]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(object_kind=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("when", "who", "action", "what", "whence")
    list_filter = (ObjectKindFilter,)
    ordering = ("-pk",)
    search_fields = ("object_id",)  # shows the box; what it finds is said in get_search_results
    search_help_text = "The whole id of a partner or a task, or a key's first characters."
    actions = None
    fields = readonly_fields = ("when", "who", "whence", "request_id", "action", "what", "was", "became")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TrailList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == ObjectKindFilter.parameter_name

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """A whole id, by its index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(object_kind__in=OBJECT_KINDS, object_id=term), False

    @admin.display(description="when (UTC)")
    def when(self, entry: AuditEntry) -> str:
        return show.moment(entry.at, precise=True)

    @admin.display(description="who")
    def who(self, entry: AuditEntry) -> SafeString:
        return format_html("{} {}", entry.get_actor_kind_display(), show.line(entry.actor, length=60))

    @admin.display(description="from where")
    def whence(self, entry: AuditEntry) -> str | SafeString:
        return show.line(entry.origin, length=60)

    @admin.display(description="on what")
    def what(self, entry: AuditEntry) -> SafeString:
        return format_html("{} {}", entry.object_kind, show.line(entry.object_id))

    @admin.display(description="before")
    def was(self, entry: AuditEntry) -> str | SafeString:
        return _state(entry.before)

    @admin.display(description="after")
    def became(self, entry: AuditEntry) -> str | SafeString:
        return _state(entry.after)


def _state(state: Any) -> str | SafeString:
    return show.NONE if state is None else show.block(json.dumps(state, indent=2, ensure_ascii=False))
