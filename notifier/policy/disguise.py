"""Where a text holds a secret, in whatever spelling: as it is, percent-encoded, escaped, in base64 or in hexadecimal."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator
from functools import lru_cache

# How much longer than the secret a spelling of it can be: \u0041 for A; and what base64 puts around it.
LONGEST_FACTOR = 6
LONGEST_EXTRA = 16
# A JSON text in a JSON text in a URL.
LEVELS = 3
# Shorter ones would be found in anything.
ENCODED_FROM_BYTES = 6

Range = tuple[int, int]

# Undone one kind at a time: a secret may itself hold what looks like another kind.
_ESCAPES = (
    re.compile(r"(?:%[0-9A-Fa-f]{2})+"),
    re.compile(r"(?:\\u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\[^ux]"),
    re.compile(r"&#[xX][0-9A-Fa-f]{1,6};|&#[0-9]{1,7};|&(?:amp|lt|gt|quot|apos);"),
)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-=")


def ranges(text: str, secrets: Collection[str]) -> list[Range]:
    """Begin and end of everything in the text that spells one of the secrets, in order, none overlapping another.

    Base64 that holds a secret counts as a whole. What is escaped more than three times over is not undone.
    """
    views, found = [_View(text)], list[Range]()
    for level in range(LEVELS + 1):
        for view in views:
            found += [view.original(*place) for secret in secrets for place in _places(view.text, secret)]
        if level < LEVELS:
            undone = (view.undone(escape) for view in views for escape in _ESCAPES)
            views = [view for view in undone if view is not None]
    return _merged(found)


def _merged(found: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for begin, end in sorted(found):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


class _View:
    """A text with some of its escapes undone, and where each of its characters stood in the original."""

    __slots__ = ("_begins", "_ends", "text")

    def __init__(self, text: str, begins: list[int] | None = None, ends: list[int] | None = None) -> None:
        self.text = text
        self._begins, self._ends = begins, ends

    def original(self, begin: int, end: int) -> Range:
        if self._begins is None or self._ends is None:
            return begin, end
        return self._begins[begin], self._ends[end - 1]

    def undone(self, escape: re.Pattern[str]) -> _View | None:
        """One level of these escapes less; None where there is none."""
        pieces: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        at = 0

        def take(piece: str, begin: int, end: int, *, whole: bool) -> None:
            pieces.append(piece)
            places = [self.original(begin, end)] * len(piece) if whole else self._each(begin, end)
            begins.extend(place[0] for place in places)
            ends.extend(place[1] for place in places)

        for match in escape.finditer(self.text):
            take(self.text[at : match.start()], at, match.start(), whole=False)
            take(_character(match[0]), match.start(), match.end(), whole=True)
            at = match.end()
        if not pieces:
            return None
        take(self.text[at:], at, len(self.text), whole=False)
        return _View("".join(pieces), begins, ends)

    def _each(self, begin: int, end: int) -> list[Range]:
        return [self.original(place, place + 1) for place in range(begin, end)]


def _character(escape: str) -> str:
    """What an escape stands for: of a run of them, all together."""
    if escape[0] == "%":
        return _text(bytes.fromhex(escape.replace("%", "")))
    if escape[0] == "&":
        name = escape[1:-1]
        if name[0] != "#":
            return _NAMED[name]
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
        return chr(code) if code <= 0x10FFFF else "\ufffd"
    if escape[1] == "u":
        # Pairs of surrogates become one character.
        return bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "replace")
    return chr(int(escape[2:], 16)) if escape[1] == "x" else _SHORT.get(escape[1], escape[1])


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _places(text: str, secret: str) -> Iterator[Range]:
    yield from _occurrences(text, secret)
    if " " in secret and "+" in text:  # a form's blank
        yield from _occurrences(text.replace("+", " "), secret.replace("+", " "))
    forms = _forms(secret)
    for form in forms.others:
        yield from _occurrences(text, form)
    for core in forms.base64:
        for begin, end in _occurrences(text, core):
            yield _whole_base64(text, begin, end)
    if forms.hexadecimal and len(text) >= len(forms.hexadecimal):
        yield from _occurrences(text.lower(), forms.hexadecimal)


def _occurrences(text: str, part: str) -> Iterator[Range]:
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + len(part))


def _whole_base64(text: str, begin: int, end: int) -> Range:
    while begin and text[begin - 1] in _BASE64:
        begin -= 1
    while end < len(text) and text[end] in _BASE64:
        end += 1
    return begin, end


class _Forms:
    """The fixed spellings of a secret."""

    __slots__ = ("base64", "hexadecimal", "others")

    def __init__(self, secret: str) -> None:
        raw = secret.encode("utf-8", "surrogatepass")
        # As a header it went out in Latin-1, which reads as nothing else where UTF-8 is expected.
        latin = raw if secret.isascii() else secret.encode("latin-1", "replace")
        self.others = () if latin == raw else (latin.decode("utf-8", "replace"),)
        long = len(raw) >= ENCODED_FROM_BYTES
        self.hexadecimal = raw.hex() if long else ""
        self.base64 = tuple(sorted(_cores(raw) | _cores(latin))) if long else ()


# The plain text of recently used secrets, in this process's memory alone.
@lru_cache(maxsize=512)
def _forms(secret: str) -> _Forms:
    return _Forms(secret)


def _cores(raw: bytes) -> set[str]:
    """What base64 has of these bytes wherever they begin in what was encoded, without the characters shared with others."""
    cores: set[str] = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        core = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        cores |= {core, core.replace("+", "-").replace("/", "_")}
    return cores
