"""What the answers look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from notifier.api.pagination import MAX_LIMIT, Pages
from notifier.models import AttemptStatus, Status
from notifier.models.task import DeadReason
from notifier.policy.explain import Reason


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its __init_subclass__ is untyped
    target_class = "notifier.api.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key."}


class ProblemDetail(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class ProblemDocument(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    details = ProblemDetail(many=True)


class Accepted(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Status.choices)
    partner_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    idempotent_replay = serializers.BooleanField()


class BatchError(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    code = serializers.CharField()
    message = serializers.CharField()
    details = ProblemDetail(many=True)


class BatchEntry(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    index = serializers.IntegerField()
    status = serializers.IntegerField(help_text="What POST /v1/notify would have answered: 202, 200 or a 4xx.")
    task_id = serializers.UUIDField(required=False)
    error = BatchError(required=False)


class BatchAnswer(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    accepted = serializers.IntegerField(help_text="How many results have a task_id.")
    rejected = serializers.IntegerField(help_text="How many results have an error.")
    results = BatchEntry(many=True)


class LastAttempt(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    attempt_no = serializers.IntegerField()
    status = serializers.ChoiceField(choices=AttemptStatus.choices)
    http_status_code = serializers.IntegerField(allow_null=True)
    error_code = serializers.CharField(allow_null=True)
    error_message = serializers.CharField(allow_null=True)
    latency_ms = serializers.FloatField(allow_null=True)
    created_at = serializers.DateTimeField()


class TaskSummary(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    task_id = serializers.UUIDField()
    partner_id = serializers.CharField()
    target_url = serializers.CharField()
    method = serializers.CharField()
    idempotency_key = serializers.CharField(allow_null=True)
    priority = serializers.IntegerField()
    metadata = serializers.DictField(child=serializers.CharField())
    status = serializers.ChoiceField(choices=Status.choices)
    dead_reason = serializers.ChoiceField(choices=DeadReason.choices, allow_null=True)
    attempt_count = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    last_attempt = LastAttempt(allow_null=True)


class Task(TaskSummary):
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.JSONField(required=False)
    body_text = serializers.CharField(required=False)
    body_base64 = serializers.CharField(required=False)
    success_condition = serializers.CharField()
    deliver_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


class TaskPage(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    results = TaskSummary(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class Attempt(LastAttempt):
    dns_ms = serializers.FloatField(allow_null=True)
    connect_ms = serializers.FloatField(allow_null=True)
    tls_ms = serializers.FloatField(allow_null=True)
    ttfb_ms = serializers.FloatField(allow_null=True)
    total_ms = serializers.FloatField(allow_null=True)
    remote_ip = serializers.CharField(allow_null=True)
    response_headers = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    response_body = serializers.CharField()


class Attempts(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    results = Attempt(many=True)


class Between(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    earliest = serializers.DateTimeField()
    latest = serializers.DateTimeField()


class Explained(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Status.choices)
    reason = serializers.ChoiceField(choices=[(reason.value, reason.value) for reason in Reason])
    message = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    next_attempts = Between(many=True)


PAGING_PARAMETERS = [
    OpenApiParameter("cursor", str),
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": Pages.page_size}),
]
LIST_PARAMETERS = [
    OpenApiParameter("partner_id", str),
    OpenApiParameter("status", str, enum=list(Status.values)),
    OpenApiParameter("dead_reason", str, enum=list(DeadReason.values)),
    OpenApiParameter("created_after", OpenApiTypes.DATETIME),
    OpenApiParameter("created_before", OpenApiTypes.DATETIME),
    OpenApiParameter(
        "metadata.KEY",
        str,
        description="The value under this name of the metadata; KEY stands for the name. Up to 16 of them.",
    ),
    *PAGING_PARAMETERS,
]


def problems(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """The error answers of an operation."""
    return {
        (status, "application/problem+json"): OpenApiResponse(ProblemDocument, description="A problem document")
        for status in statuses
    }
