"""POST /v1/notify/requeue: dead tasks by filter."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from notifier import audit, bulk_requeue
from notifier.api import schema
from notifier.api.auth import KeyRequest, Scopes, require_partner
from notifier.api.fields import Boolean, Integer, StrictField
from notifier.api.list_query import read_filter
from notifier.api.serializers import StrictSerializer
from notifier.models import Scope, Status
from notifier.models.task import DeadReason
from notifier.selectors import TaskFilter
from notifier.wake import publisher

FILTER_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "description": "As in the list: these fields, and metadata.KEY for labels.",
    "properties": {
        "partner_id": {"type": "string", "maxLength": 64},
        "status": {"type": "string", "enum": [Status.DEAD.value]},
        "dead_reason": {"type": "string", "enum": list(DeadReason.values)},
        "created_after": {"type": "string", "format": "date-time"},
        "created_before": {"type": "string", "format": "date-time"},
    },
}


@extend_schema_field(FILTER_SCHEMA)
class Filter(StrictField):
    """The list's filter. It is required, for without one everything would match; and only dead tasks do."""

    default_error_messages = {"not_dead": "can only be dead: other tasks are not requeued in bulk"}

    def to_internal_value(self, data: Any) -> TaskFilter:
        if not isinstance(data, dict):
            self.fail("invalid_type", wanted="an object")
        if not data:
            self.fail("invalid", reason="must narrow the tasks by something, such as partner_id or dead_reason")
        wanted = read_filter(data)
        if wanted.status not in (None, Status.DEAD):
            message = str(self.error_messages["not_dead"])
            raise serializers.ValidationError({"status": [serializers.ErrorDetail(message, "invalid_choice")]})
        return wanted


class BulkRequeueSerializer(StrictSerializer):
    filter = Filter()
    dry_run = Boolean(default=False)
    per_second = Integer(low=1, high=bulk_requeue.MAX_PER_SECOND, required=False)


class Requeued(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    matched = serializers.IntegerField(help_text=f"Counted up to {bulk_requeue.COUNT_BOUND:,}.")
    requeued = serializers.IntegerField(help_text="So far; the rest follows by itself.")


class BulkRequeueView(APIView):
    scopes: ClassVar[Scopes] = {"POST": (Scope.OPERATE,)}

    @extend_schema(
        request=BulkRequeueSerializer,
        responses={200: Requeued, **schema.problems(400, 401, 403, 503)},
        operation_id="requeue_notifications",
    )
    def post(self, request: KeyRequest) -> Response:
        """Requeue the dead tasks that match: the first now, the rest by the sweeps, at the rate that is asked for."""
        serializer = BulkRequeueSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        wanted, rate = asked["filter"], asked.get("per_second")
        if wanted.partner_id is not None:
            require_partner(request.auth, wanted.partner_id)
        partners = request.auth.partners
        if asked["dry_run"]:
            return Response({"matched": bulk_requeue.count(wanted, partners=partners), "requeued": 0})
        job = bulk_requeue.begin(wanted, per_second=rate, by=audit.by_key(request, request.auth), partners=partners)
        step = bulk_requeue.advance(job.pk, at_once=rate)
        if step.partner_ids:
            publisher.wake(step.partner_ids)
        return Response({"matched": job.matched, "requeued": step.requeued})
