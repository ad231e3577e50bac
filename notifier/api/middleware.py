"""What holds for every request: an id to find it again by, and a limit on its body before a byte of it is read."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable

import structlog
import uuid_utils
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.lines import Lines
from notifier.api.errors import Problem, database_unavailable, for_people, refusal
from notifier.availability import database
from notifier.client_address import REQUEST_ID
from notifier.tracing import tracing

# More than any length has; beyond 4,300 digits Python refuses to read a number.
LENGTH_DIGITS = 18
# Of a request's head: what no caller needs and a parser would have to carry.
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
BATCH_PATH = "/v1/notify/batch"
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


# Asked every few seconds by machines.
UNLOGGED = frozenset({"/healthz", "/readyz", "/metrics"})


class ProblemMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._lines = Lines("notifier.access", "request")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _SANE_ID.fullmatch(given) else str(uuid_utils.uuid4())
        request.META[REQUEST_ID] = request_id
        begun = time.perf_counter()
        # On every line of this request, and kept with what it hands over (intake).
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            answer = self._traced(request) if tracing.on and request.method == "POST" else self._answer(request)
            if settings.NOTIFIER_LOG_ACCESS and request.path not in UNLOGGED:
                self._log(request, answer, time.perf_counter() - begun)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
        answer["X-Request-ID"] = request_id
        return answer

    def _log(self, request: HttpRequest, answer: HttpResponse, seconds: float) -> None:
        """The path without its query, which names what somebody looked for."""
        if self._lines.wanted:
            line = {
                "request_id": request.META[REQUEST_ID],
                "method": request.method,
                "path": request.path,
                "status": answer.status_code,
                "duration_ms": round(seconds * 1000, 1),
            }
            self._lines.write([line])

    def _traced(self, request: HttpRequest) -> HttpResponse:
        """What is handed over goes on in our span, as if the producer had sent that."""
        if not request.path.startswith("/v1/notify"):
            return self._answer(request)
        with tracing.accepting(request.META.get("HTTP_TRACEPARENT")) as span:
            request.META["HTTP_TRACEPARENT"] = tracing.traceparent(span)
            return self._answer(request)

    def _answer(self, request: HttpRequest) -> HttpResponse:
        problem = self._unreadable(request)
        if problem is None and (request.path.startswith("/v1/") or for_people(request)) and database.away():
            problem = database_unavailable()
            # An answer before the body has been read looks like a broken connection to one who still sends it.
            with contextlib.suppress(OSError):
                request.read()
        return self._get_response(request) if problem is None else refusal(request, problem)

    def _unreadable(self, request: HttpRequest) -> Problem | None:
        if not request.path.startswith("/v1/"):
            return None
        batch = request.path == BATCH_PATH
        limit = settings.NOTIFIER_MAX_BATCH_BYTES if batch else settings.NOTIFIER_MAX_BODY_BYTES
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            return Problem(411, "length_required", "Send the body with a Content-Length, not in chunks.")
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            return Problem(400, "invalid_request", "Content-Length is not a number.")
        if len(length) > LENGTH_DIGITS or int(length) > limit:
            return Problem(
                413, "payload_too_large", f"The body is {length[:LENGTH_DIGITS]} bytes; at most {limit} are accepted."
            )
        head = [len(name) + len(value) for name, value in request.META.items() if name.startswith("HTTP_")]
        if len(head) > MAX_HEADERS or sum(head) > MAX_HEADER_BYTES:
            return Problem(
                431, "headers_too_large",
                f"At most {MAX_HEADERS} headers, {MAX_HEADER_BYTES} bytes together, are accepted.",
            )  # fmt: skip
        return None
