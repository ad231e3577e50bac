"""Serializer fields that take a value of their own type and nothing else: no trimming, no ``"5"`` for 5."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from notifier.api.renderers import dumps
from notifier.policy import condition, destination, header_rules

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# RFC 3339, section 5.6; the offset is required.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})")
MAX_METADATA_ENTRIES = 16
MAX_METADATA_BYTES = 2048


class StrictField(serializers.Field):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    """Everything that it refuses, ``to_internal_value`` refuses: there are no validators beside it."""

    # Whether null is a value here, not the lack of one.
    takes_null = False
    default_error_messages = {
        "invalid_type": "must be {wanted}",
        "too_long": "must be at most {limit} characters",
        "too_short": "must not be empty",
        "invalid": "{reason}",
    }

    def to_representation(self, value: Any) -> Any:
        return value


class Text(StrictField):
    def __init__(
        self, *, limit: int, empty: bool = False, pattern: str | None = None, rule: str = "", **kwargs: Any
    ) -> None:
        self.limit, self.empty, self.rule = limit, empty, rule
        self.pattern = None if pattern is None else re.compile(pattern)
        super().__init__(**kwargs)
        shown = {"type": "string", "minLength": 0 if empty else 1, "maxLength": limit}
        set_override(self, "field", shown if pattern is None else shown | {"pattern": f"^{pattern}$"})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string")
        if not data and not self.empty:
            self.fail("too_short")
        if len(data) > self.limit:
            self.fail("too_long", limit=self.limit)
        if self.pattern is not None and not self.pattern.fullmatch(data):
            self.fail("invalid", reason=self.rule)
        if self.pattern is None and _CONTROL.search(data):
            self.fail("invalid", reason="must not have control characters")
        return data


class Integer(StrictField):
    default_error_messages = {"out_of_range": "must be between {low} and {high}"}

    def __init__(self, *, low: int, high: int, **kwargs: Any) -> None:
        self.low, self.high = low, high
        super().__init__(**kwargs)
        set_override(self, "field", {"type": "integer", "minimum": low, "maximum": high})

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid_type", wanted="a whole number")
        if not self.low <= data <= self.high:
            self.fail("out_of_range", low=self.low, high=self.high)
        return data


@extend_schema_field({"type": "boolean"})
class Boolean(StrictField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid_type", wanted="true or false")
        return data


@extend_schema_field({"type": "string", "format": "date-time"})
class Time(StrictField):
    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string with an RFC 3339 time")
        if not _TIME.fullmatch(data):
            self.fail("invalid", reason="must be an RFC 3339 time with an offset, like 2026-01-31T12:00:00Z")
        try:
            # In UTC here, because an offset can carry it beyond the first or the last year.
            return datetime.fromisoformat(data.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid", reason="is not a time that exists")


@extend_schema_field({"type": "string", "enum": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]})
class Method(StrictField):
    CHOICES = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
    default_error_messages = {"invalid_choice": "must be one of GET POST PUT PATCH DELETE HEAD"}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string")
        if data not in self.CHOICES:
            self.fail("invalid_choice")
        return data


@extend_schema_field({"type": "string", "format": "uri", "maxLength": destination.MAX_URL_LENGTH})
class TargetURL(StrictField):
    default_error_messages = {"invalid_url": "cannot be used: {reason}"}

    def to_internal_value(self, data: Any) -> destination.Target:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string")
        if len(data) > destination.MAX_URL_LENGTH:
            self.fail("too_long", limit=destination.MAX_URL_LENGTH)
        try:
            return destination.target(data)
        except destination.TargetError as error:
            self.fail("invalid_url", reason=error)


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": header_rules.MAX_HEADERS}
)
class Headers(StrictField):
    default_error_messages = {"invalid_header": "{reason}"}

    def to_internal_value(self, data: Any) -> dict[str, str]:
        try:
            return header_rules.check(data)
        except header_rules.HeaderError as error:
            self.fail("invalid_header", reason=error)


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_METADATA_ENTRIES}
)
class Metadata(StrictField):
    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
            self.fail("invalid_type", wanted="an object of strings")
        if len(data) > MAX_METADATA_ENTRIES:
            self.fail("invalid", reason=f"must have at most {MAX_METADATA_ENTRIES} entries")
        if sum(len(name.encode()) + len(value.encode()) for name, value in data.items()) > MAX_METADATA_BYTES:
            self.fail("invalid", reason=f"must be at most {MAX_METADATA_BYTES} bytes together")
        if any(not name or _CONTROL.search(name) or _CONTROL.search(value) for name, value in data.items()):
            self.fail("invalid", reason="must not have empty names or control characters")
        return data


@extend_schema_field({"type": "string", "maxLength": condition.MAX_LENGTH})
class Condition(StrictField):
    default_error_messages = {"invalid_condition": "cannot be used: {reason}"}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string")
        if len(data) > condition.MAX_LENGTH:
            self.fail("too_long", limit=condition.MAX_LENGTH)
        try:
            condition.check(data)
        except condition.ConditionError as error:
            self.fail("invalid_condition", reason=error)
        return data


@extend_schema_field({})
class AnyJSON(StrictField):
    """Any JSON value, null included, as the compact UTF-8 that is sent."""

    takes_null = True

    def to_internal_value(self, data: Any) -> bytes:
        if isinstance(data, Decimal) and not data.is_finite():
            self.fail("invalid", reason="is not a number that JSON knows")
        return dumps(data)


@extend_schema_field({"type": "string"})
class TextBody(StrictField):
    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string")
        return data.encode()


@extend_schema_field({"type": "string", "format": "byte"})
class Base64Body(StrictField):
    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid_type", wanted="a string in base64")
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            self.fail("invalid", reason="is not base64 (RFC 4648, section 4, with padding)")
