"""How values look on admin pages: escaped, bounded, in UTC, and without secrets."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import simplejson
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from notifier.models import NotificationTask
from notifier.models.task import BodyFormat
from notifier.policy.explain import Explanation

NONE = "–"
LINE_LENGTH = 80
BODY_LENGTH = 8_000
HEX_BYTES = 512


def moment(at: datetime | None, *, precise: bool = False) -> str:
    """``2026-01-31 04:05:06``, in UTC; with milliseconds where two things are compared."""
    if at is None:
        return NONE
    return at.isoformat(sep=" ", timespec="milliseconds" if precise else "seconds").removesuffix("+00:00")


def age(length: timedelta) -> str:
    """Its largest unit: ``3 h``."""
    seconds = max(int(length.total_seconds()), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def line(text: str | None, *, length: int = LINE_LENGTH) -> str | SafeString:
    """The text's beginning on one line; all of it when it is pointed at."""
    if not text:
        return NONE
    if len(text) <= length:
        return format_html('<span class="ntf-text ntf-breaks">{}</span>', text)
    return format_html('<span class="ntf-text ntf-breaks" title="{}">{}</span>…', text, text[:length])


def block(text: str) -> SafeString:
    """The text as it is, in lines that wrap; a long one scrolls."""
    return format_html('<pre class="ntf-block">{}</pre>', text)


def copied(text: str) -> SafeString:
    """The text as it is, with a button that copies it."""
    button = '<button type="button" class="ntf-button" data-ntf-copy>Copy</button>'
    return format_html('<div class="ntf-copied">{}{}</div>', SafeString(button), block(text))


def text(value: str | None) -> str | SafeString:
    """All of a text that may be long, breaking anywhere."""
    return format_html('<span class="ntf-text ntf-breaks">{}</span>', value) if value else NONE


def pairs(entries: Mapping[str, str] | Iterable[Iterable[str]]) -> str | SafeString:
    """``name: value``, one a line."""
    listed = entries.items() if isinstance(entries, Mapping) else entries
    lines = "\n".join(": ".join(str(part) for part in entry) for entry in listed)
    return block(lines) if lines else NONE


def lines(entries: Iterable[str]) -> str | SafeString:
    """One entry a line, in a list's cell: the first three."""
    listed = [str(entry) for entry in entries]
    if not listed:
        return NONE
    shown = [*listed[:3], f"and {len(listed) - 3} more"] if len(listed) > 3 else listed
    template = '<span class="ntf-text ntf-breaks">{}</span>'
    return format_html_join(SafeString("<br>"), template, ((entry,) for entry in shown))


def badge(status: str, note: str | None = None) -> SafeString:
    """The status, coloured by its name in admin.css, and what else is to be said of it."""
    shown = f"{status}: {note}" if note else status
    return format_html('<span class="ntf-badge ntf-{}">{}</span>', status, shown)


def standing(status: str, facts: str) -> SafeString:
    """A status, and beside it what is known of it."""
    return format_html('{} <span class="ntf-text ntf-breaks">{}</span>', badge(status), facts)


def explanation(explained: Explanation) -> SafeString:
    """The reason with its sentence, since and until when; the next attempts are opened by a click."""
    times = [f"{word} {moment(at)}" for word, at in (("since", explained.since), ("until", explained.until)) if at]
    attempts = [
        (moment(each.earliest) + ("" if each.earliest == each.latest else f" to {moment(each.latest)}"),)
        for each in explained.next_attempts
    ]
    listed = format_html_join("", "<li>{}</li>", attempts)
    head = format_html(
        '<div class="ntf-why">{} {}<div class="ntf-note">{}</div>',
        badge(explained.reason.value),
        explained.message,
        ", ".join(times),
    )
    if not attempts:
        return format_html("{}</div>", head)
    return format_html(
        '{}<details><summary>next attempts</summary><ol class="ntf-times">{}</ol></details></div>', head, listed
    )


def body(task: NotificationTask) -> str | SafeString:
    """What is sent, readable: text as text, JSON indented, other bytes as hexadecimal; its beginning, where it is long."""
    if task.body is None:
        return "none"
    if task.body_sealed:
        return "sealed"
    raw = bytes(task.body)
    decoded = _decoded(raw)
    if decoded is None:
        shown, cut, kind = raw[:HEX_BYTES].hex(" ", 4), len(raw) > HEX_BYTES, "binary, in hexadecimal"
    elif task.body_format == BodyFormat.JSON and (indented := _indented(decoded)) is not None:
        shown, cut, kind = indented[:BODY_LENGTH], len(indented) > BODY_LENGTH, "JSON, indented here, sent compact"
    else:
        shown, cut, kind = decoded[:BODY_LENGTH], len(decoded) > BODY_LENGTH, "text"
    size = f"{len(raw):,} bytes of {kind}" + ("; only the beginning is shown" if cut else "")
    return format_html('<div><div class="ntf-note">{}</div>{}</div>', size, block(shown))


def _decoded(raw: bytes) -> str | None:
    """The bytes as text, or None where they are none. What is too long to be shown is not looked at."""
    head = raw[: BODY_LENGTH * 4]
    try:
        # Not final: a character that the cut divides is no error.
        found = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) == len(raw))
    except UnicodeDecodeError:
        return None
    return None if any(character < " " and character not in "\t\r\n" for character in found) else found


def _indented(decoded: str) -> str | None:
    """JSON with every digit kept, or None where it was cut or is none."""
    try:
        value = simplejson.loads(decoded, use_decimal=True)
        return str(simplejson.dumps(value, indent=2, ensure_ascii=False, use_decimal=True))
    except (ValueError, RecursionError, ArithmeticError):
        return None
