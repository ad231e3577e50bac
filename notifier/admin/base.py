"""What all pages of the admin have in common: the theme, full width, our style sheet, and nothing counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

if TYPE_CHECKING:  # the theme has no types; its class is Django's, dressed
    Themed = admin.ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as Themed


class BaseAdmin(Themed):
    list_fullwidth = True
    list_per_page = 100
    # A facet is a COUNT of the whole table.
    show_facets = admin.ShowFacets.NEVER
    # It would tick what is not on the page.
    list_disable_select_all = True

    class Media:
        css = {"all": ("notifier/admin.css",)}
        js = ("notifier/admin.js",)


class ReadOnlyAdmin(BaseAdmin):
    """Seen, and never written by a form: a status changes in ``notifier.lifecycle`` alone, and history does not change."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def once(field: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A read-only field that asks the database: the theme's template evaluates each three times."""
    name = f"_shown_{field.__name__}"

    @wraps(field)
    def shown(model_admin: Any, row: Any) -> Any:
        if name not in row.__dict__:
            row.__dict__[name] = field(model_admin, row)
        return row.__dict__[name]

    return shown
