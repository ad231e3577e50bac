"""Form fields for what is JSON in the table: one entry a line, as people write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from notifier import sealing
from notifier.policy import redaction


class _Text(forms.CharField):
    """A text area whose value is no string: ``to_python`` reads it, ``prepare_value`` shows it."""

    def __init__(self, *, rows: int = 3, **kwargs: Any) -> None:
        super().__init__(
            required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": rows, "spellcheck": "false"}), **kwargs
        )

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


class Lines(_Text):
    """A list of strings, one a line; lines without text do not count."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]


class Numbers(_Text):
    """A list of numbers between commas or blanks; ``empty`` is what no numbers mean."""

    def __init__(self, *, whole: bool, empty: Any, **kwargs: Any) -> None:
        super().__init__(rows=2, **kwargs)
        self._read = int if whole else float
        self._empty = empty

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        # Every digit: what is shown is what is saved again.
        return ", ".join(str(int(number) if number == int(number) else number) for number in value)

    def to_python(self, value: Any) -> Any:
        parts = (value or "").replace(",", " ").split()
        try:
            return [self._read(part) for part in parts] if parts else self._empty
        except ValueError:
            kind = "whole numbers" if self._read is int else "numbers"
            raise ValidationError(f"Write {kind} with commas between them.") from None


class Json(_Text):
    """An object, as JSON; ``None`` where nothing is written."""

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, indent=2) if isinstance(value, dict) else value or ""

    def to_python(self, value: Any) -> Any:
        if not (value or "").strip():
            return None
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            # The text is not repeated: it may be a secret.
            raise ValidationError('Write an object in JSON, like {"type": "basic", …}.') from None


class HeaderLines(_Text):
    """``Name: value``, one a line. Values of sensitive headers are shown as ``***``, and kept where that is left standing."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{name}: {shown}" for name, shown in _masked(value).items())

    def to_python(self, value: Any) -> Any:
        headers: dict[str, str] = {}
        for line in (value or "").splitlines():
            name, colon, text = line.partition(":")
            name = name.strip()
            if not line.strip():
                continue
            if not colon or not name:
                # The line is not repeated: it may be a secret.
                raise ValidationError("Write one header a line, as Name: value.")
            if name in headers:
                raise ValidationError(f"{name[:80]} is given twice.")
            headers[name] = text.strip()
        return headers

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(_masked(initial or {}), data)

    @staticmethod
    def unmasked(given: dict[str, str], stored: dict[str, str]) -> dict[str, str]:
        """What was given, with the stored value wherever a sensitive header still reads ``***``."""
        shown = sealing.shown_headers(stored)
        kept = {
            name: stored[name] for name, value in given.items() if value == redaction.MASK and shown.get(name) == value
        }
        return given | kept


def as_sentences(reasons: Iterable[str]) -> list[str]:
    """``must be a number`` → ``Must be a number.``, as the form's other errors are written."""
    return [f"{reason[0].upper()}{reason[1:].removesuffix('.')}." for reason in reasons]


def _masked(headers: dict[str, str]) -> dict[str, str]:
    return sealing.shown_headers(headers)
