"""POST /v1/notify/batch: up to 1,000 notifications in one request, one transaction and one wake a partner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.views import APIView

from notifier import intake
from notifier.accept_limit import limiter
from notifier.api import parsers, schema, throttle
from notifier.api.auth import KeyRequest, Scopes, require_partner
from notifier.api.errors import Problem, detail, from_refused
from notifier.api.renderers import answer
from notifier.api.serializers import MAX_BATCH, BatchSerializer, StrictSerializer, notification
from notifier.intake import Accepted, Notification
from notifier.models import ApiKey, Scope


class BatchView(APIView):
    scopes: ClassVar[Scopes] = {"POST": (Scope.WRITE,)}
    parser_classes = (parsers.BatchParser,)

    @extend_schema(
        request=BatchSerializer,
        responses={200: schema.BatchAnswer, **schema.problems(400, 401, 403, 411, 413, 415, 429, 431, 503)},
        operation_id="notify_batch",
    )
    def post(self, request: KeyRequest) -> HttpResponse:
        """Accept notifications, each by itself: one that is refused harms no other. What is accepted is on disk."""
        if "HTTP_IDEMPOTENCY_KEY" in request.META:
            message = "A batch takes no header Idempotency-Key; give each notification its idempotency_key."
            raise Problem(400, "invalid_request", message, [detail("Idempotency-Key", "invalid", message)])
        throttle.admit(request.auth)
        traceparent = request.META.get("HTTP_TRACEPARENT")
        results: dict[int, dict[str, Any]] = {}
        wanted: dict[int, Notification] = {}
        asked = _notifications(request.data)
        limiter.charge(request.auth, len(asked) - 1)
        for index, data in enumerate(asked):
            try:
                wanted[index] = _wanted(data, request.auth, traceparent)
            except Problem as problem:
                results[index] = _rejected(problem)
        outcomes = intake.accept_many(list(wanted.values()), key=request.auth)
        for index, outcome in zip(wanted, outcomes, strict=True):
            results[index] = _accepted(outcome) if isinstance(outcome, Accepted) else _rejected(from_refused(outcome))
        accepted = sum("task_id" in result for result in results.values())
        in_order = [{"index": index, **results[index]} for index in range(len(asked))]
        return answer({"accepted": accepted, "rejected": len(asked) - accepted, "results": in_order})


def _notifications(data: Any) -> list[Any]:
    """What the batch holds, which may be anything; or ``Problem`` (400) where it is no batch."""
    if "notifications" not in data:
        raise _bad("required", "is required")
    StrictSerializer(data={name: data[name] for name in data if name != "notifications"}).is_valid(raise_exception=True)
    asked = data["notifications"]
    if not isinstance(asked, list):
        raise _bad("invalid_type", "must be a list of notifications")
    if not asked:
        raise _bad("too_short", "must not be empty")
    if len(asked) > MAX_BATCH:
        raise _bad("too_long", f"must be at most {MAX_BATCH} notifications; these are {len(asked)}")
    return asked


def _bad(code: str, reason: str) -> Problem:
    return Problem(400, "invalid_request", f"notifications: {reason}", [detail("notifications", code, reason)])


def _wanted(data: Any, key: ApiKey, traceparent: str | None) -> Notification:
    """The well-formed notification that the key may post, or ``Problem`` with what a single post is answered."""
    parsers.check(data)
    if not isinstance(data, Mapping):
        raise Problem(400, "invalid_request", "It is not an object.", [detail("", "invalid_type", "must be an object")])
    wanted = notification(data, key_header=None, traceparent=traceparent)
    require_partner(key, wanted.partner_id)
    limit = settings.NOTIFIER_MAX_BODY_BYTES
    if wanted.body is not None and len(wanted.body) > limit:
        message = f"The body to deliver is {len(wanted.body)} bytes; at most {limit} are accepted."
        raise Problem(413, "payload_too_large", message)
    return wanted


def _accepted(accepted: Accepted) -> dict[str, Any]:
    return {"status": 200 if accepted.replay else 202, "task_id": accepted.task.task_id}


def _rejected(problem: Problem) -> dict[str, Any]:
    error = {"code": problem.code, "message": problem.message, "details": problem.details}
    return {"status": problem.status_code, "error": error}
