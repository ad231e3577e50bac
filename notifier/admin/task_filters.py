"""The filters of the task list. Each is a range of an index; two together have the list's time bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.forms import SearchForm

from notifier import selectors
from notifier.models import NotificationTask, Partner, Status
from notifier.selectors import TaskFilter

Tasks = QuerySet[NotificationTask]
FILTER_PARTNERS = 25
TIME_HELP = "like 2026-01-31 or 2026-01-31 04:05, in UTC"


class Unreadable(ValueError):
    """What was typed is no such value; the message says what would be."""


def read_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.strip())
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unreadable(f"{text[:40]!r} is no time; write one {TIME_HELP}.") from None


def read_label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Unreadable(f"{text[:40]!r} is no label; write name=value.")
    return name.strip(), value.strip()


def read_status_code(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 100 <= int(text[:4]) <= 599):
        raise Unreadable(f"{text[:40]!r} is no HTTP status; write a number between 100 and 599.")
    return int(text)


class PartnerFilter(admin.SimpleListFilter):
    """The first partners by name; a partner's own page leads to the tasks of any other."""

    title = "partner"
    parameter_name = "partner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = list(Partner.objects.values_list("partner_id", flat=True)[: FILTER_PARTNERS + 1])
        if len(names) > FILTER_PARTNERS:
            names.pop()
            self.title = f"partner (the first {FILTER_PARTNERS}; for others, go by their page)"
        chosen = self.value()
        return [(name, name) for name in ([chosen, *names] if chosen and chosen not in names else names)]

    def queryset(self, request: HttpRequest, queryset: Tasks) -> Tasks:
        return queryset.filter(partner__partner_id=self.value()) if self.value() else queryset


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return Status.choices

    def queryset(self, request: HttpRequest, queryset: Tasks) -> Tasks:
        return selectors.narrowed(queryset, TaskFilter(status=self.value())) if self.value() else queryset


class Typed(admin.SimpleListFilter):
    """A value that is typed in. One that cannot be read shows nothing, and says why."""

    template = "unfold/filters/filters_field.html"

    def has_output(self) -> bool:
        return True

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return ()

    def choices(self, changelist: Any) -> Iterator[Any]:
        form = SearchForm(name=self.parameter_name, label=self.title, data={self.parameter_name: self.value()})
        yield {"form": form}

    def queryset(self, request: HttpRequest, queryset: Tasks) -> Tasks:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        try:
            return selectors.narrowed(queryset, self.wanted(text))
        except Unreadable as error:
            messages.error(request, f"{str(self.title).capitalize()}: {error}")
            return queryset.none()

    def wanted(self, text: str) -> TaskFilter:
        """The filter that the text stands for, or ``Unreadable`` with what would be one."""
        raise NotImplementedError  # each filter has its own


class CreatedAfter(Typed):
    title = "created after (UTC)"
    parameter_name = "after"

    def wanted(self, text: str) -> TaskFilter:
        return TaskFilter(created_after=read_time(text))


class CreatedBefore(Typed):
    title = "created before (UTC)"
    parameter_name = "before"

    def wanted(self, text: str) -> TaskFilter:
        return TaskFilter(created_before=read_time(text))


class HttpStatus(Typed):
    """Of the last attempt, where it failed: its error code names the status, and has an index."""

    title = "HTTP status of the last failure"
    parameter_name = "http"

    def wanted(self, text: str) -> TaskFilter:
        return TaskFilter(error_code=f"http_{read_status_code(text)}")


class ErrorCode(Typed):
    title = "error code"
    parameter_name = "error"

    def wanted(self, text: str) -> TaskFilter:
        return TaskFilter(error_code=text)


class Label(Typed):
    title = "label (name=value)"
    parameter_name = "label"

    def wanted(self, text: str) -> TaskFilter:
        name, value = read_label(text)
        return TaskFilter(metadata={name: value})


TYPED = (CreatedAfter, CreatedBefore, HttpStatus, ErrorCode, Label)
