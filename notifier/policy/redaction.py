"""What nobody may read: which headers are sensitive, and how they are shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

MASK = "***"
SENSITIVE_REQUEST_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
SENSITIVE_RESPONSE_HEADERS = SENSITIVE_REQUEST_HEADERS | {"set-cookie", "set-cookie2", "www-authenticate"}


def is_sensitive(name: str, extra: Collection[str] = ()) -> bool:
    """Whether a request header of this name is sealed; ``extra`` holds further names in any case."""
    lowered = name.lower()
    return lowered in SENSITIVE_REQUEST_HEADERS or any(lowered == other.lower() for other in extra)


def masked(headers: Mapping[str, str], extra: Collection[str] = ()) -> dict[str, str]:
    """The headers for showing: the values of sensitive ones are ``***``."""
    return {name: MASK if is_sensitive(name, extra) else value for name, value in headers.items()}


def response_headers(
    headers: Iterable[tuple[str, str]], *, secrets: Collection[str], max_bytes: int
) -> list[list[str]]:
    """Response headers for the record: sensitive ones masked, echoed secrets removed, cut to ``max_bytes`` together."""
    kept: list[list[str]] = []
    size = 0
    for name, value in headers:
        shown = MASK if name.lower() in SENSITIVE_RESPONSE_HEADERS else scrub(value, secrets)
        size += len(name) + len(shown)
        if size > max_bytes:
            break
        kept.append([name, shown])
    return kept


def scrub(text: str, secrets: Collection[str]) -> str:
    """The text without the given secrets: a partner may echo the credential that it was sent."""
    # Longest first: one may be the beginning of another, whose end would be left standing.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return text
