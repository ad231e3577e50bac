"""Secrets that a test plants, and the search for them in every spelling; none of it is the service's own code."""

from __future__ import annotations

import base64
import html
import json
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

# What every encoding has to do something about.
SPECIAL = "/+\"\\&<=%' é"
# So much of a secret's beginning is a find already.
PREFIX = 14


def canary(special: str = SPECIAL) -> str:
    """A value that nothing else has; it may stand in a header."""
    return f"{secrets.token_hex(12)}{special}{secrets.token_hex(6)}"


def spellings(value: str) -> dict[str, str]:
    """By name, how the value may look; of base64 what does not depend on its neighbours."""
    found = {
        "plain": value,
        "beginning": value[:PREFIX],
        "url": quote(value, safe=""),
        "url-path": quote(value),
        "form": quote_plus(value),
        "json": json.dumps(value)[1:-1],
        "json-utf-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "repr": repr(value)[1:-1],
        "html": html.escape(value),
        "hex": value.encode().hex(),
    }
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value.encode()).decode()
        core = encoded[4 if before else 0 : len(encoded) - 4]
        found[f"base64-{before}"] = core
        found[f"base64-url-{before}"] = core.replace("+", "-").replace("/", "_")
    return found


def finds(canaries: Mapping[str, str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """``canary as spelling in place`` for every one that is found."""
    wanted = [
        (name, spelling, form.encode())
        for name, value in canaries.items()
        for spelling, form in spellings(value).items()
    ]
    return [
        f"{name} as {spelling} in {place}"
        for place, content in places
        for name, spelling, form in wanted
        if form in content
    ]
