"""The endpoints: thin; rules and writes live in intake, lifecycle and selectors."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar, cast

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from notifier import audit, intake, operating, selectors
from notifier.api import representation, schema, throttle
from notifier.api.auth import KeyRequest, Scopes, require_partner
from notifier.api.errors import Problem, from_refused
from notifier.api.list_query import task_filter
from notifier.api.pagination import NewestFirst
from notifier.api.renderers import answer
from notifier.api.serializers import NotifySerializer, StrictSerializer, notification
from notifier.models import NotificationTask, Scope
from notifier.wake import publisher


def _task(request: KeyRequest, task_id: str) -> NotificationTask:
    """The task, or 404 where there is none or the key may not see it."""
    try:
        wanted = uuid.UUID(task_id)
    except ValueError:
        wanted = None
    task = None if wanted is None or str(wanted) != task_id.lower() else selectors.find_task(request.auth, wanted)
    if task is None:
        raise Problem(404, "task_not_found", f"There is no task {task_id[:64]!r} that this key may see.")
    return task


class NotifyView(APIView):
    scopes: ClassVar[Scopes] = {"POST": (Scope.WRITE,), "GET": (Scope.READ,)}

    @extend_schema(
        request=NotifySerializer,
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
        responses={
            202: schema.Accepted,
            200: schema.Accepted,
            **schema.problems(400, 401, 403, 411, 413, 415, 422, 429, 431, 503),
        },
        operation_id="notify",
    )
    def post(self, request: KeyRequest) -> HttpResponse:
        """Accept a notification. 202 means that it is on disk."""
        throttle.admit(request.auth)
        wanted = notification(
            cast("dict[str, Any]", request.data),  # the parser takes nothing but objects
            key_header=request.META.get("HTTP_IDEMPOTENCY_KEY"),
            traceparent=request.META.get("HTTP_TRACEPARENT"),
        )
        require_partner(request.auth, wanted.partner_id)
        try:
            accepted = intake.accept(wanted, key=request.auth)
        except intake.Refused as refused:
            raise from_refused(refused) from None
        headers = {"Location": f"/v1/notify/{accepted.task.task_id}"}
        if accepted.replay:
            headers["Idempotency-Replayed"] = "true"
        return answer(representation.accepted(accepted), status=200 if accepted.replay else 202, headers=headers)

    @extend_schema(
        parameters=schema.LIST_PARAMETERS,
        responses={200: schema.TaskPage, **schema.problems(400, 401, 403, 503)},
        operation_id="list_notifications",
    )
    def get(self, request: KeyRequest) -> Response:
        """Tasks, newest first."""
        wanted = task_filter(request.query_params)
        if wanted.partner_id is not None:
            require_partner(request.auth, wanted.partner_id)
        paginator = NewestFirst()
        tasks = selectors.list_tasks(request.auth, wanted).defer("headers", "body", "fingerprint")
        page = paginator.paginate_queryset(tasks, request, view=self) or []
        return Response(paginator.document([representation.summary(task) for task in page]))


class TaskView(APIView):
    scopes: ClassVar[Scopes] = {"GET": (Scope.READ,)}

    @extend_schema(
        request=None,
        responses={200: schema.Task, **schema.problems(401, 403, 404, 503)},
        operation_id="read_notification",
    )
    def get(self, request: KeyRequest, task_id: str) -> Response:
        """One task: what was asked, where it stands, and its last attempt."""
        return Response(representation.task_document(_task(request, task_id)))


class AttemptsView(APIView):
    scopes: ClassVar[Scopes] = {"GET": (Scope.READ,)}

    @extend_schema(
        request=None,
        responses={200: schema.Attempts, **schema.problems(401, 403, 404, 503)},
        operation_id="read_attempts",
    )
    def get(self, request: KeyRequest, task_id: str) -> Response:
        """All attempts of a task, oldest first."""
        rows = selectors.attempts(_task(request, task_id))
        return Response({"results": [representation.attempt(row) for row in rows]})


class ExplainView(APIView):
    scopes: ClassVar[Scopes] = {"GET": (Scope.READ,)}

    @extend_schema(
        request=None,
        responses={200: schema.Explained, **schema.problems(401, 403, 404, 503)},
        operation_id="explain_notification",
    )
    def get(self, request: KeyRequest, task_id: str) -> Response:
        """Why a task stands where it stands, and when its next attempts would be."""
        task = _task(request, task_id)
        return Response(representation.explained(task, selectors.explain(task)))


class CancelView(APIView):
    scopes: ClassVar[Scopes] = {"POST": (Scope.WRITE, Scope.OPERATE)}

    @extend_schema(
        request=None,
        responses={200: schema.Task, **schema.problems(400, 401, 403, 404, 409, 503)},
        operation_id="cancel_notification",
    )
    def post(self, request: KeyRequest, task_id: str) -> Response:
        """Stop a task that has not finished; an attempt in flight is still recorded."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        task = _task(request, task_id)
        if Scope.OPERATE not in request.auth.scopes and not selectors.made_by(task, request.auth):
            raise Problem(
                403, "not_own_task", "Only the key that made the task, or one with notify:operate, may cancel it."
            )
        if not operating.cancel(task, by=audit.by_key(request, request.auth)):
            raise Problem(409, "already_finished", f"Task {task_id} was finished already; nothing was changed.")
        return Response(representation.task_document(_task(request, task_id)))


class RequeueView(APIView):
    scopes: ClassVar[Scopes] = {"POST": (Scope.OPERATE,)}

    @extend_schema(
        request=None,
        responses={200: schema.Task, **schema.problems(400, 401, 403, 404, 409, 503)},
        operation_id="requeue_notification",
    )
    def post(self, request: KeyRequest, task_id: str) -> Response:
        """Make a dead or failed task due now, with a fresh budget of attempts."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        task = _task(request, task_id)
        if not operating.requeue(task, by=audit.by_key(request, request.auth)):
            raise Problem(
                409, "not_requeueable", f"Task {task_id} is {task.status}; only dead and failed ones can be requeued."
            )
        publisher.wake([task.partner.partner_id])
        return Response(representation.task_document(_task(request, task_id)))
