"""OpenTelemetry traces, where an exporter is configured by the standard OTEL_* variables; else nothing is even imported.

A notification's trace goes on from its producer's ``traceparent``: accept (web), wake (web), claim and send (worker); the
partner gets send's span as its parent. What is between processes travels in the row, as everything else: the message is
only a hint. A span never holds a URL, a header or a body.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext

# More links than this say nothing more about a message.
MOST_LINKS = 50


class Tracing:
    """This process's. ``on`` is False until ``start`` was called: everything else is to be asked only then."""

    def __init__(self) -> None:
        self.on = False
        self._tracer: Any = None
        self._provider: TracerProvider | None = None
        self._trace: Any = None
        self._propagator: Any = None

    def start_if_configured(self, *, service: str) -> None:
        """Export by OTLP over HTTP where the settings name an endpoint (OpenTelemetry's environment variables)."""
        wanted = settings.OTEL_EXPORTER_OTLP_ENDPOINT or settings.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
        if self.on or not wanted or settings.OTEL_TRACES_EXPORTER == "none" or settings.OTEL_SDK_DISABLED:
            return
        otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        self.start(otlp.OTLPSpanExporter(), service=settings.OTEL_SERVICE_NAME or f"notifier-{service}")

    def start(self, exporter: SpanExporter, *, service: str, at_once: bool = False) -> None:
        """Give spans to the exporter; from a thread of its own, in batches, unless ``at_once``."""
        resources = importlib.import_module("opentelemetry.sdk.resources")
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._trace = importlib.import_module("opentelemetry.trace")
        provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": service}))
        processor = export.SimpleSpanProcessor if at_once else export.BatchSpanProcessor
        provider.add_span_processor(processor(exporter))
        self._provider, self._tracer = provider, provider.get_tracer("notifier")
        self._propagator = propagation.TraceContextTextMapPropagator()
        self.on = True

    def stop(self) -> None:
        """Export what is left, and be off."""
        if self._provider is not None:
            self.on = False
            self._provider.shutdown()

    @contextmanager
    def accepting(self, traceparent: str | None) -> Iterator[Span]:
        """The span of a post; it is the current one in this thread."""
        with self._tracer.start_as_current_span(
            "accept", context=self._context(traceparent), kind=self._trace.SpanKind.SERVER
        ) as span:
            yield span

    def current(self) -> SpanContext | None:
        """What the current span can be linked by."""
        found: SpanContext = self._trace.get_current_span().get_span_context()
        return found if found.is_valid else None

    def traceparent(self, span: Span) -> str:
        """As a header has it (W3C Trace Context, section 3.2)."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return carrier["traceparent"]

    @contextmanager
    def waking(self, origins: Sequence[SpanContext], *, partners: int) -> Iterator[None]:
        """The span of one message: in the trace of the first that it is for, linked to the others'."""
        first = self._trace.NonRecordingSpan(origins[0]) if origins else None
        with self._tracer.start_as_current_span(
            "wake",
            context=self._trace.set_span_in_context(first) if first else None,
            kind=self._trace.SpanKind.PRODUCER,
            links=[self._trace.Link(origin) for origin in origins[1:MOST_LINKS]],
            attributes={"messaging.system": "celery", "notifier.partners": partners},
        ):
            yield

    def claimed(
        self, traceparent: str | None, *, since_ns: int, task_id: str, partner_id: str, attempt_no: int
    ) -> Span:
        """The span of a claim, which began at ``since_ns`` (since 1970); ended by now. Its context is send's parent."""
        span: Span = self._tracer.start_span(
            "claim",
            context=self._context(traceparent),
            start_time=since_ns,
            attributes=_names(task_id, partner_id, attempt_no),
        )
        span.end()
        return span

    def sending(self, claim: Span, *, task_id: str, partner_id: str, attempt_no: int, method: str) -> Span:
        """The span of the request to the partner. To be ended by ``sent``."""
        span: Span = self._tracer.start_span(
            "send",
            context=self._trace.set_span_in_context(claim),
            kind=self._trace.SpanKind.CLIENT,
            attributes=_names(task_id, partner_id, attempt_no) | {"http.request.method": method},
        )
        return span

    def sent(self, span: Span, *, status: int | None, failure: str | None) -> None:
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        # Semantic conventions for HTTP client spans: 4xx, 5xx and no answer at all are errors.
        if failure is not None or (status is not None and status >= 400):
            span.set_attribute("error.type", failure or str(status))
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def _context(self, traceparent: str | None) -> Any:
        return self._propagator.extract({} if traceparent is None else {"traceparent": traceparent})


def _names(task_id: str, partner_id: str, attempt_no: int) -> dict[str, str | int]:
    return {"notifier.task_id": task_id, "notifier.partner_id": partner_id, "notifier.attempt_no": attempt_no}


tracing = Tracing()
