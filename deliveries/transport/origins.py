"""What is known of servers, by origin: who speaks HTTP/2, and with whom what is not done for the time being."""

from __future__ import annotations

import re
import time

import pycurl

# A partner that drops kept connections without a word gets a new one for each request for this long; one that drops HTTP/2's,
# or is silent on them, is spoken to in HTTP/1.1.
DISTRUST_SECONDS = 600
# So many origins that speak HTTP/2 are remembered, the last ones.
MAX_REMEMBERED = 10_000
_ORIGIN = re.compile(r"https?://[^/?#]+")


class Origins:
    """Lives in the engine's thread."""

    def __init__(self) -> None:
        self._kept_distrusted_until: dict[str, float] = {}
        self._http2_distrusted_until: dict[str, float] = {}
        self._speaks_http2: dict[str, None] = {}  # the one that was found out last comes last

    def distrust_kept(self, url: str) -> None:
        """A kept connection broke under a request: for a while none is used again with that partner."""
        _distrust(self._kept_distrusted_until, url)

    def distrusts_kept(self, url: str) -> bool:
        return _distrusts(self._kept_distrusted_until, url)

    def distrust_http2(self, url: str) -> None:
        """HTTP/2 failed, whosever fault it was: for a while that partner is spoken to in HTTP/1.1.

        Its connection may be dead without a word, and would be given more streams for as long as any is on it.
        """
        _distrust(self._http2_distrusted_until, url)

    def offers_http2(self, url: str) -> bool:
        return not (_distrusts(self._http2_distrusted_until, url) or self.distrusts_kept(url))

    def note_version(self, url: str, version: int) -> None:
        """The origin has answered in this version of HTTP (libcurl's number; 0: it has not)."""
        origin = _ORIGIN.match(url)
        if origin is None or not version:
            return
        if version != pycurl.CURL_HTTP_VERSION_2_0:
            self._speaks_http2.pop(origin[0], None)
        elif origin[0] not in self._speaks_http2:
            self._speaks_http2[origin[0]] = None
            if len(self._speaks_http2) > MAX_REMEMBERED:
                del self._speaks_http2[next(iter(self._speaks_http2))]

    def speaks_http2(self, url: str) -> bool:
        origin = _ORIGIN.match(url)
        return origin is not None and origin[0] in self._speaks_http2


def _distrust(until: dict[str, float], url: str) -> None:
    now = time.monotonic()
    for past in [origin for origin, end in until.items() if end <= now]:
        del until[past]
    if origin := _ORIGIN.match(url):
        until[origin[0]] = now + DISTRUST_SECONDS


def _distrusts(until: dict[str, float], url: str) -> bool:
    origin = _ORIGIN.match(url) if until else None
    return origin is not None and until.get(origin[0], 0.0) > time.monotonic()
