"""What nobody may read: which headers are sensitive, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from notifier.policy import disguise

MASK = "***"
SHORTEST_SECRET = 4
SENSITIVE_REQUEST_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
SENSITIVE_RESPONSE_HEADERS = SENSITIVE_REQUEST_HEADERS | {"set-cookie", "set-cookie2", "www-authenticate"}

NUMERIC_RESPONSE_HEADERS = frozenset({"content-length", "retry-after"})
_NUMBER = re.compile(r"[0-9]{1,10}")


def is_sensitive(name: str, extra: Collection[str] = ()) -> bool:
    """Whether a request header of this name is sealed; ``extra`` holds further names in any case."""
    lowered = name.lower()
    return lowered in SENSITIVE_REQUEST_HEADERS or (bool(extra) and any(lowered == other.lower() for other in extra))


def masked(headers: Mapping[str, str], extra: Collection[str] = ()) -> dict[str, str]:
    """The headers for showing: the values of sensitive ones are ``***``."""
    return {name: MASK if is_sensitive(name, extra) else value for name, value in headers.items()}


def response_headers(
    headers: Iterable[tuple[str, str]], *, secrets: Collection[str], max_bytes: int
) -> list[list[str]]:
    """Response headers for the record: sensitive ones masked, echoed secrets removed, cut to ``max_bytes`` together."""
    if not secrets:
        return _cut(
            ((name, MASK if name.lower() in SENSITIVE_RESPONSE_HEADERS else value) for name, value in headers),
            max_bytes,
        )
    return _cut(
        (
            # A partner may make a header's name of a secret as well.
            (scrub(name, secrets), MASK if name.lower() in SENSITIVE_RESPONSE_HEADERS else scrub(value, secrets))
            for name, value in headers
        ),
        max_bytes,
    )


def response_headers_of_sealed(headers: Iterable[tuple[str, str]], *, max_bytes: int) -> list[list[str]]:
    """Response headers where the request's body is sealed: numbers alone, which cannot repeat it."""
    numbers = (
        (name, value)
        for name, value in headers
        if name.lower() in NUMERIC_RESPONSE_HEADERS and _NUMBER.fullmatch(value)
    )
    return _cut(numbers, max_bytes)


def _cut(headers: Iterable[tuple[str, str]], max_bytes: int) -> list[list[str]]:
    kept: list[list[str]] = []
    size = 0
    for name, shown in headers:
        size += len(name) + len(shown)
        if size > max_bytes:
            break
        kept.append([name, shown])
    return kept


def scrub(text: str, secrets: Collection[str]) -> str:
    """The text without the given secrets, however spelled: a partner may echo the credential that it was sent."""
    wanted = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    pieces: list[str] = []
    at = 0
    for begin, end in disguise.ranges(text, wanted) if wanted else ():
        pieces += (text[at:begin], MASK)
        at = end
    return "".join([*pieces, text[at:]]) if pieces else text


def kept_text(raw: bytes, secrets: Collection[str], *, max_bytes: int, truncated: bool) -> str:
    """The beginning of a response's body for the record: at most ``max_bytes``, without the secrets.

    A secret that the end of the record cuts in two is hidden as well, so what is looked at is longer than what is kept.
    Where the response itself was ``truncated`` before that, its last characters are left out.
    """
    if not secrets:
        return raw[:max_bytes].decode("utf-8", "replace")
    margin = disguise.LONGEST_EXTRA + disguise.LONGEST_FACTOR * max(len(secret.encode()) for secret in secrets)
    looked_at = raw[: max_bytes + margin].decode("utf-8", "replace")
    shown = scrub(looked_at, secrets)
    if truncated and len(raw) < max_bytes + margin:
        shown = _without_beginnings(shown, secrets)
    return shown.encode()[:max_bytes].decode("utf-8", "ignore")


def _without_beginnings(text: str, secrets: Collection[str]) -> str:
    """The text without an end that may be the beginning of a secret: cut there, none can be recognised."""
    longest = disguise.LONGEST_FACTOR * max(len(secret) for secret in secrets)
    blanks = max(text.rfind(character) for character in " \n\t\r")
    # Most secrets have no blank, so a blank bounds what could be one; one with blanks costs its whole length.
    spaced = any(any(character.isspace() for character in secret) for secret in secrets)
    begins = len(text) - longest if spaced else max(blanks + 1, len(text) - longest)
    return text[: max(0, begins)] + MASK
