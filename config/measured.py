"""What is measured of each request to the web process: how many were answered with what, and how long each view took."""

from __future__ import annotations

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
        status = str(response.status_code)
        self.label_metric(self.metrics.responses_by_status, request, response, status=status).inc()
        took = TimeSince(request.prometheus_after_middleware_event)  # type: ignore[attr-defined]
        names = {"view": self._get_view_name(request), "method": self._method(request)}
        self.label_metric(self.metrics.requests_latency_by_view_method, request, response, **names).observe(took)
        return response
