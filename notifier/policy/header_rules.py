"""Which request headers may be given: names, values, amounts (RFC 9110, section 5), and what belongs to the connection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_HEADERS = 64
MAX_BYTES = 16 * 1024

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# Hop by hop (RFC 9110, section 7.6.1), framing, and what is ours to say.
FORBIDDEN = frozenset(
    {
        "connection", "host", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "expect", "http2-settings",
    }
)  # fmt: skip
RESERVED_PREFIX = "webhook-"

# Bounded, so that the time it takes grows with the value's length only.
SECRET_REFERENCE = re.compile(r"\{\{\s*secret:([^}]{0,255})\}\}")

_ONLY_REFERENCE = re.compile(r"(?:[A-Za-z]{1,16} )?\{\{\s*secret:[A-Za-z0-9_-]{1,64}\s*\}\}")


class HeaderError(ValueError):
    """A header cannot be sent; the message names it and never holds its value."""


def check(headers: Any) -> dict[str, str]:
    """The headers as given, or ``HeaderError``."""
    if not isinstance(headers, dict):
        raise HeaderError("must be an object of names and values")
    if len(headers) > MAX_HEADERS:
        raise HeaderError(f"must have at most {MAX_HEADERS} headers")
    seen: set[str] = set()
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise HeaderError(f"{str(name)[:80]!r} is not a header name")
        lowered = name.lower()
        if lowered in FORBIDDEN or lowered.startswith(RESERVED_PREFIX):
            raise HeaderError(f"{name} is set by the notifier itself or belongs to the connection")
        if lowered in seen:
            raise HeaderError(f"{name} is given twice")
        if not isinstance(value, str):
            raise HeaderError(f"the value of {name} is not a string")
        if not _VALUE.fullmatch(value):
            raise HeaderError(f"the value of {name} has a control character or one outside Latin-1")
        if value != value.strip(" \t"):
            raise HeaderError(f"the value of {name} begins or ends with a blank")
        seen.add(lowered)
        size += len(name) + len(value)
    if size > MAX_BYTES:
        raise HeaderError(f"must be at most {MAX_BYTES} bytes together")
    return headers


def secrets_named(value: str) -> list[str]:
    """The names in ``{{secret:name}}`` references of a header value."""
    return [name.strip() for name in SECRET_REFERENCE.findall(value)]


def only_refers(value: str) -> bool:
    """Whether the value is a reference to a secret and nothing else but a scheme before it, as in ``Bearer {{secret:x}}``."""
    return _ONLY_REFERENCE.fullmatch(value) is not None


def all_secrets_named(values: Iterable[str]) -> set[str]:
    """The names in all of these header values; of values without a brace this costs next to nothing."""
    return {name for value in values if "{{" in value for name in secrets_named(value)}


def with_secrets(name: str, value: str, secrets: Mapping[str, str]) -> str:
    """The header's value with its references replaced, or ``HeaderError`` where what comes of it is no header value.

    What a secret holds is not looked at for references again. Every name must be among ``secrets``.
    """
    if "{{" not in value:
        return value
    resolved = SECRET_REFERENCE.sub(lambda reference: secrets[reference[1].strip()], value)
    if not _VALUE.fullmatch(resolved):
        raise HeaderError(f"a secret in {name} has a line break, a control character or one outside Latin-1")
    return resolved
