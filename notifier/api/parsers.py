"""Strict JSON (RFC 8259): UTF-8, no NaN, no duplicate names, bounded depth; numbers keep every digit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any

import simplejson
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from notifier.api.errors import Problem, detail

MAX_DEPTH = 64
# Brackets, and strings, in which brackets do not count. One that is not ended swallows the rest: it is no JSON anyway.
_BRACKETS = re.compile(r'[\[\]{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)')


class _Doubled(dict[str, Any]):
    """An object in which ``name`` stands twice. Refused by ``check``, so that of a batch only one notification falls."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = _Doubled(found)
    doubled.name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return doubled


def _no_constant(name: str) -> Any:
    raise _malformed(f"{name} is not JSON")


# Made once: `simplejson.loads` makes one at each call where anything differs from its defaults.
_DECODER = simplejson.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=Decimal)


def loads(raw: bytes) -> Any:
    """Parse strictly, or raise ``Problem`` (400) with the place and the reason. Decimals keep their digits."""
    value = _decoded(raw)
    check(value)
    return value


def _decoded(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from None
    # What a parser can carry; ``check`` is exact, of a batch for each notification by itself.
    if _depth(text) > 2 * MAX_DEPTH:
        raise _too_deep()
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except simplejson.JSONDecodeError as error:
        raise _malformed(str(error)) from None
    except (ValueError, ArithmeticError):
        # What int and Decimal refuse: more than 4,300 digits, an exponent beyond 10**18.
        raise _malformed("it has a number that is too long, or whose exponent is too large") from None


def _depth(text: str) -> int:
    """How deep it is nested, without parsing it. Text with few brackets cannot be too deep, and is not looked at."""
    if text.count("[") + text.count("{") <= 2 * MAX_DEPTH:
        return 0
    depth = deepest = 0
    for token in _BRACKETS.finditer(text):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def check(value: Any) -> None:
    """Depth, names that stand twice, and strings that UTF-8 cannot carry (half of a surrogate pair): ``Problem`` (400)."""
    level, values = 0, [value]
    while values:
        level += 1
        if level > MAX_DEPTH:
            raise _too_deep()
        inner: list[Any] = []
        for item in values:
            if isinstance(item, dict):
                if isinstance(item, _Doubled):
                    raise _malformed(f"the name {item.name[:80]!r} stands twice in one object", "duplicate_name")
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str) and not item.isascii():
                try:
                    item.encode("utf-8")
                except UnicodeEncodeError:
                    raise _malformed("it has half of a surrogate pair, which is not a character") from None
        values = inner


def _malformed(reason: str, code: str = "invalid_json") -> Problem:
    message = f"The body is not JSON that can be accepted: {reason}."
    return Problem(400, code, message, [detail("", code, message)])


def _too_deep() -> Problem:
    return _malformed(f"it is nested deeper than {MAX_DEPTH} levels", "too_deep")


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return self.check(_decoded(stream.read()))

    def check(self, value: Any) -> Any:
        check(value)
        if not isinstance(value, dict):
            raise _malformed("it is not an object", "invalid_request")
        return value


class BatchParser(StrictJSONParser):
    """The same around the list of notifications, which are left to be checked one by one."""

    def check(self, value: Any) -> Any:
        if type(value) is dict and isinstance(value.get("notifications"), list):
            super().check({**value, "notifications": []})
            return value
        return super().check(value)


class AlwaysJSON(BaseContentNegotiation):
    """Answers JSON whatever Accept says: an error that cannot be read in the asked-for format helps nobody."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        content_type = (request.content_type or "").lower()
        charset = _CHARSET.search(content_type)
        readable = charset is None or charset[1] in ("utf-8", "utf8")
        if content_type.partition(";")[0].strip() != "application/json" or not readable:
            return None
        return parsers[0]  # type: ignore[no-any-return]  # the one configured in the settings

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type
