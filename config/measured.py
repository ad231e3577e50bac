"""What is measured of each request to the web process: how many were answered with what, and how long each view took."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_prometheus.middleware import PrometheusAfterMiddleware
from django_prometheus.utils import Time, TimeSince


class Requests(PrometheusAfterMiddleware):  # type: ignore[misc]  # django-prometheus has no types
    """Of the library's fifteen metrics the two that the dashboard shows; all of them took a twentieth of an accept."""

    def process_request(self, request: HttpRequest) -> None:
        request.prometheus_after_middleware_event = Time()  # type: ignore[attr-defined]  # the library's own name

    def process_view(self, *_: object, **__: object) -> None:
        pass

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        took = TimeSince(request.prometheus_after_middleware_event)  # type: ignore[attr-defined]  # the library's own name
        self._answered(str(response.status_code)).inc()
        self._latency(self._get_view_name(request), self._method(request)).observe(took)
        return response

    # Looking a metric up by its labels takes longer than counting; statuses, views and methods are few.

    @cache  # noqa: B019 - there is one of these for as long as the process lives
    def _answered(self, status: str) -> Any:
        return self.metrics.responses_by_status.labels(status=status)

    @cache  # noqa: B019 - as above
    def _latency(self, view: str, method: str) -> Any:
        return self.metrics.requests_latency_by_view_method.labels(view=view, method=method)
