"""A list that costs the same at ten million rows: newest first by an index, and nothing is ever counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

__all__ = ["ChangeList", "NewestFirst"]

if TYPE_CHECKING:  # the theme has no types; its class is Django's
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList

# Deeper pages are an ever longer walk; who needs older rows narrows the list.
MAX_PAGE = 100


class NewestFirst(ChangeList):
    """Pages in the model admin's ``ordering``; knows whether there is a next page, not how many there are."""

    # Columns that a list does not show and a row may have much of.
    large: ClassVar[tuple[str, ...]] = ()
    # Read by a query of their own: a join lets the database begin with the other table and sort (MariaDB did).
    related: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        return super().get_queryset(*args, **kwargs).defer(*self.large)

    def get_results(self, request: HttpRequest) -> None:
        """Keys first, from the index; then the rows of this page."""
        if not 1 <= self.page_num <= MAX_PAGE:
            raise IncorrectLookupParameters
        start = (self.page_num - 1) * self.list_per_page
        keys = list(self.queryset.values_list("pk", flat=True)[start : start + self.list_per_page + 1])
        if not keys and self.page_num > 1:
            raise IncorrectLookupParameters
        self.has_older = len(keys) > self.list_per_page
        # By key alone: with the filters beside it the database might choose one of those.
        rows = self.root_queryset.filter(pk__in=keys[: self.list_per_page])
        self.result_list = rows.defer(*self.large).prefetch_related(*self.related)
        known = min(start + len(keys), MAX_PAGE * self.list_per_page)
        self.paginator = Paginator(range(known), self.list_per_page)
        # Those on this page: the one number that is known.
        self.result_count = min(len(keys), self.list_per_page)
        self.multi_page = known > self.list_per_page
        self.show_full_result_count = self.can_show_all = False
        # Told apart from the other, the theme would show it as a total.
        self.full_result_count = self.result_count
        self.show_admin_actions = True
