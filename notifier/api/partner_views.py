"""Partners: read, and operated. Their configuration is ``apply_partners``' and the admin's to write."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from notifier import audit, clock, operating, selectors
from notifier.api import partner_schema, schema
from notifier.api.auth import KeyRequest, Scopes, require_partner
from notifier.api.errors import Problem
from notifier.api.list_query import no_filter
from notifier.api.pagination import ByPartnerId
from notifier.api.partner_representation import partner_document
from notifier.api.serializers import StrictSerializer
from notifier.backlog import LIST_BOUND, PARTNER_BOUND, backlogs
from notifier.models import Partner, Scope
from notifier.operating import Operation

logger = logging.getLogger(__name__)

OPERATION_ANSWERS: dict[Any, Any] = {
    200: partner_schema.Partner,
    **schema.problems(400, 401, 403, 404, 503),
}
REFUSABLE_ANSWERS: dict[Any, Any] = {**OPERATION_ANSWERS, **schema.problems(409)}


def _partner(request: KeyRequest, partner_id: str) -> Partner:
    """The partner; 403 where the key is made for others, 404 where there is none."""
    require_partner(request.auth, partner_id)
    partner = selectors.find_partner(request.auth, partner_id)
    if partner is None:
        raise Problem(404, "partner_not_found", f"There is no partner {partner_id[:64]!r}.")
    return partner


def _answer(partner: Partner) -> Response:
    now = clock.read()
    return Response(
        partner_document(partner, backlogs([partner.pk], now=now, bound=PARTNER_BOUND)[partner.pk], now=now)
    )


class PartnersView(APIView):
    scopes: ClassVar[Scopes] = {"GET": (Scope.READ,)}

    @extend_schema(
        parameters=schema.PAGING_PARAMETERS,
        responses={200: partner_schema.PartnerPage, **schema.problems(400, 401, 403, 503)},
        operation_id="list_partners",
    )
    def get(self, request: KeyRequest) -> Response:
        """Partners by their ids, those that the key may use."""
        no_filter(request.query_params)
        paginator = ByPartnerId()
        page = paginator.paginate_queryset(selectors.visible_partners(request.auth), request, view=self) or []
        now = clock.read()
        waiting = backlogs([partner.pk for partner in page], now=now, bound=LIST_BOUND)
        return Response(paginator.document([partner_document(each, waiting[each.pk], now=now) for each in page]))


class PartnerView(APIView):
    scopes: ClassVar[Scopes] = {"GET": (Scope.READ,)}

    @extend_schema(
        request=None,
        responses={200: partner_schema.Partner, **schema.problems(401, 403, 404, 503)},
        operation_id="read_partner",
    )
    def get(self, request: KeyRequest, partner_id: str) -> Response:
        """One partner: its configuration, what holds it back, and what waits for it."""
        return _answer(_partner(request, partner_id))


class OperationView(APIView):
    """Takes an empty body or {}, and answers with the partner as it is then."""

    scopes: ClassVar[Scopes] = {"POST": (Scope.OPERATE,)}

    def operate(
        self, request: KeyRequest, partner_id: str, operation: Operation, *, refusal: Problem | None = None
    ) -> Response:
        """``refusal`` is raised where the partner stands so already; without one that is as good."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        partner = _partner(request, partner_id)
        if operating.operate(operation, partner, by=audit.by_key(request, request.auth)):
            logger.info("partner %s: %s by API key %s", partner_id, operation.name, request.auth.prefix)
        elif refusal is not None:
            raise refusal
        return _answer(_partner(request, partner_id))


class PauseView(OperationView):
    @extend_schema(request=None, responses=OPERATION_ANSWERS, operation_id="pause_partner")
    def post(self, request: KeyRequest, partner_id: str) -> Response:
        """Accept further notifications, and let all of them wait. What is in flight ends as it ends."""
        return self.operate(request, partner_id, operating.PAUSE)


class ResumeView(OperationView):
    @extend_schema(request=None, responses=REFUSABLE_ANSWERS, operation_id="resume_partner")
    def post(self, request: KeyRequest, partner_id: str) -> Response:
        """Let what waits go again."""
        refusal = Problem(409, "not_paused", f"Partner {partner_id} is not paused; nothing was changed.")
        return self.operate(request, partner_id, operating.RESUME, refusal=refusal)


class OpenCircuitView(OperationView):
    @extend_schema(request=None, responses=REFUSABLE_ANSWERS, operation_id="open_circuit")
    def post(self, request: KeyRequest, partner_id: str) -> Response:
        """Send nothing, not even a probe, until the circuit is closed by hand."""
        message = f"The circuit of partner {partner_id} was opened by hand already; nothing was changed."
        refusal = Problem(409, "circuit_already_open", message)
        return self.operate(request, partner_id, operating.OPEN_CIRCUIT, refusal=refusal)


class CloseCircuitView(OperationView):
    @extend_schema(request=None, responses=REFUSABLE_ANSWERS, operation_id="close_circuit")
    def post(self, request: KeyRequest, partner_id: str) -> Response:
        """Send again, without waiting for a probe; what failed before is forgotten."""
        message = f"The circuit of partner {partner_id} is closed already; nothing was changed."
        refusal = Problem(409, "circuit_already_closed", message)
        return self.operate(request, partner_id, operating.CLOSE_CIRCUIT, refusal=refusal)


class ReleaseHoldView(OperationView):
    @extend_schema(request=None, responses=REFUSABLE_ANSWERS, operation_id="release_hold")
    def post(self, request: KeyRequest, partner_id: str) -> Response:
        """Do not wait for the end of the partner's Retry-After."""
        refusal = Problem(409, "not_held", f"Partner {partner_id} is not held by a Retry-After; nothing was changed.")
        return self.operate(request, partner_id, operating.RELEASE_HOLD, refusal=refusal)
