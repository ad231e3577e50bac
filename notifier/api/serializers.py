"""What a producer may send, and its translation into a Notification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from rest_framework import serializers

from notifier.api import fields
from notifier.api.errors import Problem, detail, from_fields
from notifier.intake import Notification
from notifier.models.task import BodyFormat

_BODIES = (BodyFormat.JSON.value, BodyFormat.TEXT.value, BodyFormat.BASE64.value)
_KEY_LIMIT = 255
MAX_BATCH = 1000
# An sf-string (RFC 9651, section 3.3.3), as draft-ietf-httpapi-idempotency-key-header has it.
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
# W3C Trace Context, section 3.2; all-zero ids are invalid.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    """Refuses fields that it does not know, naming each."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        unknown = [name for name in data if name not in self.fields]
        try:
            value: dict[str, Any] = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **_unknown(unknown)}) from None  # type: ignore[dict-item]  # always a dict for a serializer
        if unknown:
            raise serializers.ValidationError(_unknown(unknown))
        return value


class BodySerializer(StrictSerializer):
    """For bodies whose fields are all ``StrictField``: reads what is given, in one pass.

    The framework's own way asks every declared field for its source, its parent's mode and the form that it came in,
    which took three times as long as all the rules. What it holds is only read: one instance serves all threads.
    """

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        known = self.strict_fields
        value: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        unknown: list[str] = []
        for name, given in data.items():
            field = known.get(name)
            if field is None:
                unknown.append(name)
            elif given is None and not field.takes_null:
                errors[name] = [serializers.ErrorDetail(str(field.error_messages["null"]), "null")]
            else:
                try:
                    value[name] = field.to_internal_value(given)
                except serializers.ValidationError as error:
                    errors[name] = error.detail
        for name in self.required_fields:
            if name not in data:
                errors[name] = [serializers.ErrorDetail(str(known[name].error_messages["required"]), "required")]
        if errors or unknown:
            in_order = {name: errors[name] for name in known if name in errors}
            raise serializers.ValidationError(in_order | _unknown(unknown))
        return value

    @cached_property
    def strict_fields(self) -> dict[str, fields.StrictField]:
        return {name: cast(fields.StrictField, field) for name, field in self.fields.items()}

    @cached_property
    def required_fields(self) -> list[str]:
        return [name for name, field in self.fields.items() if field.required]


def _unknown(names: list[str]) -> dict[str, list[Any]]:
    return {name[:80]: [serializers.ErrorDetail("is not a field of this request", "unknown_field")] for name in names}


class NotifySerializer(BodySerializer):
    """The body of POST /v1/notify."""

    partner_id = fields.Text(limit=64, pattern=r"[A-Za-z0-9._-]+", rule="may hold only A-Z a-z 0-9 . _ -")
    target_url = fields.TargetURL()
    method = fields.Method(default="POST")
    headers = fields.Headers(default=dict)
    body = fields.AnyJSON(required=False)
    body_text = fields.TextBody(required=False)
    body_base64 = fields.Base64Body(required=False)
    idempotency_key = fields.Text(limit=_KEY_LIMIT, required=False)
    priority = fields.Integer(low=0, high=9, default=5)
    success_condition = fields.Condition(required=False)
    deliver_at = fields.Time(required=False)
    expires_at = fields.Time(required=False)
    max_attempts = fields.Integer(low=1, high=100, required=False)
    metadata = fields.Metadata(default=dict)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in _BODIES if name in attrs]
        if len(given) > 1:
            raise serializers.ValidationError(
                {given[1]: [serializers.ErrorDetail(f"cannot be given beside {given[0]}", "more_than_one_body")]}
            )
        return attrs


class BatchSerializer(StrictSerializer):
    """The body of POST /v1/notify/batch, for the schema: the notifications are looked at one by one."""

    notifications = serializers.ListField(child=NotifySerializer(), min_length=1, max_length=MAX_BATCH)


_NOTIFY = NotifySerializer()


def notification(data: Mapping[str, Any], *, key_header: str | None, traceparent: str | None) -> Notification:
    """The well-formed notification, or ``Problem`` (400)."""
    try:
        attrs = _NOTIFY.validate(_NOTIFY.to_internal_value(data))
    except serializers.ValidationError as error:
        raise from_fields(cast("dict[str, Any]", error.detail)) from None  # a serializer's is always one
    body_format = next((name for name in _BODIES if name in attrs), None)
    body = None if body_format is None else attrs.pop(body_format)
    # Given among the headers, it is stored and sent with them, however long it is.
    headers = attrs.setdefault("headers", {})
    typed = any(name.lower() == "content-type" for name in headers)
    content_type = "application/json" if body_format == BodyFormat.JSON and not typed else None
    if key_header is not None:
        attrs["idempotency_key"] = _one_key(attrs.get("idempotency_key"), _header_key(key_header))
    return Notification(
        target=attrs.pop("target_url"),
        **attrs,
        body=body,
        body_format=body_format,
        content_type=content_type,
        traceparent=traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None,
    )


def _header_key(header: str) -> str:
    text = header.strip()
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise _bad_key("is not a quoted string as RFC 9651 has it")
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    if not 1 <= len(text) <= _KEY_LIMIT:
        raise _bad_key(f"must be 1 to {_KEY_LIMIT} characters")
    if not text.isascii() or not text.isprintable():
        raise _bad_key("must be printable ASCII; send other characters in the body's idempotency_key")
    return text


def _bad_key(reason: str) -> Problem:
    message = f"The header Idempotency-Key {reason}."
    return Problem(400, "invalid_request", message, [detail("Idempotency-Key", "invalid", message)])


def _one_key(in_body: str | None, in_header: str) -> str:
    if in_body is not None and in_body != in_header:
        message = "The header Idempotency-Key and the field idempotency_key differ."
        raise Problem(400, "idempotency_key_mismatch", message, [detail("idempotency_key", "mismatch", message)])
    return in_header
