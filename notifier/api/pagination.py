"""Pages by cursor: one costs the same however deep it lies."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from notifier.api.errors import Problem, detail

MAX_LIMIT = 200


class Pages(CursorPagination):
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = MAX_LIMIT

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        limit = request.query_params.get("limit")
        if limit is not None and not (
            limit.isascii() and limit.isdigit() and len(limit) <= 3 and 1 <= int(limit) <= MAX_LIMIT
        ):
            message = f"limit must be a whole number between 1 and {MAX_LIMIT}."
            raise Problem(400, "invalid_request", message, [detail("limit", "out_of_range", message)])
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, ValidationError, ValueError, TypeError):
            # A cursor made by hand: undecodable, or its position is no task id.
            raise _bad_cursor() from None

    def document(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """The page that was just read, shown so."""
        return {"results": results, "next": self.get_next_link(), "previous": self.get_previous_link()}


class NewestFirst(Pages):
    ordering = "-task_id"


class ByPartnerId(Pages):
    ordering = "partner_id"


def _bad_cursor() -> Problem:
    message = "cursor is not one that this list gave; follow its next and previous links."
    return Problem(400, "invalid_request", message, [detail("cursor", "invalid", message)])
