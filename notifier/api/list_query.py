"""The list's query parameters, strictly: an unknown or malformed one is refused, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from notifier.api.fields import MAX_METADATA_ENTRIES, Text, Time
from notifier.api.serializers import StrictSerializer
from notifier.models import Status
from notifier.models.task import DeadReason
from notifier.selectors import TaskFilter

METADATA = "metadata."
PAGING = ("cursor", "limit")


class Choice(Text):
    """One of the given words."""

    default_error_messages = {"invalid_choice": "must be one of {choices}"}

    def __init__(self, *, choices: list[str], **kwargs: Any) -> None:
        self.choices = choices
        super().__init__(limit=64, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text not in self.choices:
            self.fail("invalid_choice", choices=" ".join(self.choices))
        return text


class ListQuery(StrictSerializer):
    partner_id = Text(limit=64, required=False)
    status = Choice(choices=list(Status.values), required=False)
    dead_reason = Choice(choices=list(DeadReason.values), required=False)
    created_after = Time(required=False)
    created_before = Time(required=False)


def no_filter(query: QueryDict) -> None:
    """``ValidationError`` naming each parameter but those of paging."""
    _refuse_repeated(query)
    StrictSerializer(data={name: query[name] for name in query if name not in PAGING}).is_valid(raise_exception=True)


def _refuse_repeated(query: QueryDict) -> None:
    repeated = [name for name in query if len(query.getlist(name)) > 1]
    if repeated:
        raise serializers.ValidationError({name: ["is given more than once"] for name in repeated})


def task_filter(query: QueryDict) -> TaskFilter:
    """The filter, or ``ValidationError`` naming each parameter that cannot be used."""
    _refuse_repeated(query)
    return read_filter({name: str(query[name]) for name in query if name not in PAGING})


def read_filter(given: Mapping[str, Any]) -> TaskFilter:
    """The filter that these names and values are, or ``ValidationError`` naming each that cannot be used."""
    metadata = {name.removeprefix(METADATA): value for name, value in given.items() if name.startswith(METADATA)}
    # No task has more labels, and each costs the query a join.
    if "" in metadata or len(metadata) > MAX_METADATA_ENTRIES:
        message = f"must be at most {MAX_METADATA_ENTRIES} labels, each with a name"
        raise serializers.ValidationError({"metadata": [message]})
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise serializers.ValidationError({f"{METADATA}{name}": ["must be a string"]})
    serializer = ListQuery(data={name: value for name, value in given.items() if not name.startswith(METADATA)})
    serializer.is_valid(raise_exception=True)
    return TaskFilter(**serializer.validated_data, metadata=metadata)
