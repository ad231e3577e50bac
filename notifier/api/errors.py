"""The one shape of every error: application/problem+json (RFC 9457) with code, message and details."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.html import escape
from django.views import defaults
from rest_framework import exceptions

from notifier import secret_store
from notifier.availability import database, is_connection_lost
from notifier.intake import Refused

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
LATER = {"Retry-After": "5"}

Detail = dict[str, str]


class Problem(exceptions.APIException):
    """Raised anywhere below a view; becomes the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code)
        self.status_code = status
        self.code = code
        self.message = message
        self.details = list(details)
        self.headers = dict(headers or {})


def detail(field: str, code: str, message: str) -> Detail:
    return {"field": field, "code": code, "message": message}


def body(status: int, code: str, message: str, details: Iterable[Detail] = ()) -> dict[str, Any]:
    """The problem document."""
    return {
        "type": f"urn:notifier:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "code": code,
        "message": message,
        "details": list(details),
    }


def from_fields(errors: Mapping[str, Any]) -> Problem:
    """A 400 for a serializer's errors, one detail for each thing that is wrong."""
    details = list(_flatten(errors, ""))
    codes = {entry["code"] for entry in details}
    code = "unknown_field" if codes == {"unknown_field"} else "invalid_request"
    first = details[0]
    message = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    if len(details) > 1:
        message += f" (and {len(details) - 1} more; see details)"
    return Problem(400, code, message, details)


def from_refused(refused: Refused) -> Problem:
    """A 422 for what intake refuses."""
    return Problem(422, refused.code, refused.message, [detail(refused.field, refused.code, refused.message)])


def _flatten(errors: Any, path: str) -> Iterable[Detail]:
    if isinstance(errors, Mapping):
        for name, inner in errors.items():
            step = "" if name == "non_field_errors" else str(name)
            yield from _flatten(inner, f"{path}.{step}".strip("."))
    elif isinstance(errors, list | tuple):
        for index, inner in enumerate(errors):
            yield from _flatten(inner, path if isinstance(inner, exceptions.ErrorDetail) else f"{path}[{index}]")
    else:
        yield detail(path, getattr(errors, "code", None) or "invalid", str(errors))


# The framework's own exceptions: status, stable code, sentence.
_FRAMEWORK: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Http404, 404, "not_found", "There is nothing at this address."),
    (exceptions.NotFound, 404, "not_found", "There is nothing at this address."),
    (PermissionDenied, 403, "forbidden", "This key may not do that."),
    (exceptions.PermissionDenied, 403, "forbidden", "This key may not do that."),
    (
        exceptions.NotAuthenticated, 401, "not_authenticated",
        "Send an API key in the header Authorization: Bearer <key>.",
    ),
    (exceptions.AuthenticationFailed, 401, "invalid_api_key", "The API key is unknown or was revoked."),
    (exceptions.UnsupportedMediaType, 415, "unsupported_media_type", "Send JSON with Content-Type: application/json."),
    (SuspiciousOperation, 400, "invalid_request", "The request cannot be understood."),  # such as too many parameters
    (exceptions.ParseError, 400, "invalid_json", "The request body cannot be read."),
)  # fmt: skip


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Turn whatever a view raised into a problem document. The unexpected is logged once, and told to nobody.

    Not a Response of the framework, which would be rendered by the view: the schema's writes YAML.
    """
    problem = _problem(error)
    if problem.status_code == 401:
        problem.headers["WWW-Authenticate"] = 'Bearer realm="notifier"'
    return response(problem)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, exceptions.ValidationError):
        return from_fields(error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail})
    if isinstance(error, exceptions.MethodNotAllowed):
        return Problem(405, "method_not_allowed", str(error.detail))
    if isinstance(error, exceptions.Throttled):
        wait = {"Retry-After": str(int(getattr(error, "wait", None) or 1))}
        return Problem(429, "rate_limited", str(error.detail), headers=wait)
    for kind, status, code, message in _FRAMEWORK:
        if isinstance(error, kind):
            return Problem(status, code, message)
    if isinstance(error, secret_store.Unavailable):
        logger.error("the store of secrets cannot be used: %s", error)
        return Problem(503, "secrets_unavailable", "The store of secrets cannot be used now. Try again.", headers=LATER)
    if isinstance(error, OperationalError | InterfaceError):
        if is_connection_lost(error):
            database.lost()
        logger.error("the database cannot be used: %s %s", type(error).__name__, _code(error))
        return database_unavailable()
    logger.error("unexpected error", exc_info=error)
    return Problem(500, "internal_error", "The notifier failed at this; nothing of it is your fault. Try again.")


def _code(error: Exception) -> str:
    """The number of a database's error, which says what its text would; the text may hold values."""
    return str(error.args[0]) if error.args and isinstance(error.args[0], int) else ""


def database_unavailable() -> Problem:
    return Problem(
        503,
        "database_unavailable",
        "The database cannot be used now. Try again; with the same idempotency key nothing is sent twice.",
        headers=LATER,
    )


def response(problem: Problem) -> HttpResponse:
    """The problem as a plain Django response."""
    document = body(problem.status_code, problem.code, problem.message, problem.details)
    answer = JsonResponse(document, status=problem.status_code, content_type=MEDIA_TYPE)
    for name, value in problem.headers.items():
        answer[name] = value
    return answer


def for_people(request: HttpRequest) -> bool:
    return request.path == "/admin" or request.path.startswith("/admin/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if for_people(request):
        return defaults.bad_request(request, exception)
    return response(Problem(400, "invalid_request", "The request cannot be understood."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if for_people(request):
        return defaults.permission_denied(request, exception)
    return response(Problem(403, "forbidden", "This is not allowed."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if for_people(request):
        return defaults.page_not_found(request, exception)
    return response(Problem(404, "not_found", "There is nothing at this address."))


def refusal(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The problem as a document, or to people as a page."""
    if not for_people(request):
        return response(problem)
    page = f"<!doctype html><title>{problem.status_code}</title><p>{escape(problem.message)}</p>"
    answer = HttpResponse(page, status=problem.status_code)
    for name, value in problem.headers.items():
        answer[name] = value
    return answer


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exception()
    if isinstance(error, OperationalError | InterfaceError):
        return refusal(request, _problem(error))
    if for_people(request):
        return defaults.server_error(request)
    return response(
        Problem(500, "internal_error", "The notifier failed at this; nothing of it is your fault. Try again.")
    )
