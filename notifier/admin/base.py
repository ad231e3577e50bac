"""What all pages of the admin have in common: the theme, full width, our style sheet, and nothing counted."""

from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin


class BaseAdmin(ModelAdmin):  # type: ignore[misc]  # the theme has no types
    list_fullwidth = True
    list_per_page = 100
    # A facet is a COUNT of the whole table.
    show_facets = admin.ShowFacets.NEVER
    # It would tick what is not on the page.
    list_disable_select_all = True

    class Media:
        css = {"all": ("notifier/admin.css",)}
