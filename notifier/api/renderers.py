"""Compact JSON; decimals as they came in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import simplejson
from django.http import HttpResponse
from rest_framework.renderers import BaseRenderer


def _default(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return timestamp(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, always with six digits of microseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


# For what ``orjson`` does not know: decimals, and whole numbers beyond 64 bits. Made once: `simplejson.dumps` makes one at each call
# where anything differs from its defaults.
_ENCODER = simplejson.JSONEncoder(
    use_decimal=True, ensure_ascii=False, separators=(",", ":"), default=_default, allow_nan=False
)


def dumps(value: Any) -> bytes:
    """Both encoders write the same bytes but for a float's exponent, and a body has decimals, not floats: what a producer sends
    again keeps its fingerprint.
    """
    try:
        return orjson.dumps(value, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:
        return bytes(_ENCODER.encode(value), "utf-8")


class JSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else dumps(data)


def answer(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """The same, for views that are asked a thousand times a second: the framework's response is a template that is rendered
    later, which takes a twentieth of an accept.
    """
    return HttpResponse(dumps(document), status=status, content_type=JSONRenderer.media_type, headers=headers)
