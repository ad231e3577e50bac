"""What libcurl is told of one transfer: where to, how, within which limits, and the bytes of the request."""

from __future__ import annotations

import itertools
import re
import time
from functools import lru_cache

import pycurl
from requests.structures import CaseInsensitiveDict

from deliveries.transport.egress import Egress, bracketed, host_and_port
from deliveries.transport.origins import Origins
from deliveries.transport.request import REMEMBERED, ClientCertificate, Unsendable
from deliveries.transport.transfer import Transfer

# A kept connection is used no longer than this, so that a change of DNS or of a rule takes effect.
CONNECTION_MAX_AGE_SECONDS = 60
# Nor after this long unused: servers drop idle connections (gunicorn after 2 s, Node and Apache after 5), and a request
# that crosses the close on its way is a failed attempt. It also bounds how many connections stay open.
CONNECTION_MAX_IDLE_SECONDS = 1
# libcurl looks through all addresses that it remembers, with each transfer, for those that are older than it is told: a sixth of
# a worker's processor time where there are 4,000 of them. It is told so once in so many transfers. It needs to remember none: it
# is given the address of a name with each transfer anew.
ADDRESSES_LOOKED_THROUGH_EACH = 1000
ADDRESSES_KEPT_SECONDS = 60
# libcurl and pycurl add these by themselves; an empty value takes them out unless the request has them.
_UNWANTED = (b"Expect:", b"Content-Type:", b"User-Agent:")
# What follows the authority is sent as it is: libcurl would take out /../ and write %7e as %7E.
_TARGET = re.compile(r"https?://[^/?#]+(/[^#]*)")
# A token (RFC 9110, section 5.6.2).
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\r\n\0]")


class Handles:
    """Sets up easy handles for transfers. Lives in the engine's thread."""

    def __init__(self, *, ca_file: str, egress: Egress, origins: Origins, connection_max_age: int) -> None:
        self._ca_file = ca_file
        self._egress = egress
        self._origins = origins
        self._connection_max_age = connection_max_age
        self._transfers = itertools.cycle(range(ADDRESSES_LOOKED_THROUGH_EACH))

    def configure(self, easy: pycurl.Curl, transfer: Transfer) -> None:
        """Of a handle that is new or was reset: what is not set is libcurl's default, which follows no redirects."""
        request, limits = transfer.outgoing.request, transfer.outgoing.limits
        url = request.url or ""
        if not url.isascii():
            raise Unsendable("the URL is not ASCII")
        easy.setopt(pycurl.URL, url)
        if target := _request_target(url):
            easy.setopt(pycurl.REQUEST_TARGET, target)
        if transfer.http2:
            self._configure_http2(easy, url)
        else:
            easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.NOSIGNAL, 1)
        easy.setopt(pycurl.CAINFO, self._ca_file)
        if transfer.outgoing.client is not None:
            _identify(easy, transfer.outgoing.client)
        easy.setopt(pycurl.ACCEPT_ENCODING, "")
        self._configure_route(easy, transfer, url)
        easy.setopt(pycurl.DNS_CACHE_TIMEOUT, -1 if next(self._transfers) else ADDRESSES_KEPT_SECONDS)
        spent = time.monotonic() - transfer.began
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round((limits.connect_timeout - spent) * 1000)))
        easy.setopt(pycurl.TIMEOUT_MS, max(1, round((limits.total_timeout - spent) * 1000)))
        easy.setopt(pycurl.MAXAGE_CONN, CONNECTION_MAX_IDLE_SECONDS)
        easy.setopt(pycurl.MAXLIFETIME_CONN, self._connection_max_age)
        distrusted = self._origins.distrusts_kept(url)
        if transfer.fresh or distrusted:
            easy.setopt(pycurl.FRESH_CONNECT, 1)
        if distrusted:
            easy.setopt(pycurl.FORBID_REUSE, 1)
        easy.setopt(pycurl.OPENSOCKETFUNCTION, transfer.guard.open_socket)
        easy.setopt(pycurl.PREREQFUNCTION, transfer.guard.before_request)
        easy.setopt(pycurl.HEADERFUNCTION, transfer.head)
        easy.setopt(pycurl.WRITEFUNCTION, transfer.write)
        self._configure_method(easy, request.method or "POST", request.body)
        easy.setopt(pycurl.HTTPHEADER, _lines(request.headers))

    def _configure_http2(self, easy: pycurl.Curl, url: str) -> None:
        """Where TLS agrees to it. Who is known to speak it is waited for rather than given a connection for each request;
        requests to anybody else would wait for one another's handshakes.
        """
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        if self._origins.speaks_http2(url):
            easy.setopt(pycurl.PIPEWAIT, 1)

    def _configure_route(self, easy: pycurl.Curl, transfer: Transfer, url: str) -> None:
        host, port = host_and_port(url)
        if self._egress.proxy is not None:
            self._egress.proxy.configure(easy, host=host, port=port, address=transfer.addresses[0])
            return
        easy.setopt(pycurl.PROXY, "")
        if transfer.addresses:
            easy.setopt(pycurl.RESOLVE, [f"+{host}:{port}:{','.join(map(bracketed, transfer.addresses))}"])

    def _configure_method(self, easy: pycurl.Curl, method: str, body: bytes | str | None) -> None:
        data = _bytes(body, "utf-8", "the body") if body is not None else None
        if method == "HEAD" and not data:
            easy.setopt(pycurl.NOBODY, 1)
        elif data is None and method in ("GET", "DELETE"):
            easy.setopt(pycurl.HTTPGET, 1)
            easy.setopt(pycurl.CUSTOMREQUEST, method)
        else:
            easy.setopt(pycurl.POSTFIELDS, data or b"")
            easy.setopt(pycurl.CUSTOMREQUEST, method)


def _identify(easy: pycurl.Curl, client: ClientCertificate) -> None:
    """Mutual TLS. Certificate and key go from memory to memory; no file has them."""
    easy.setopt(pycurl.SSLCERT_BLOB, client.certificate)
    easy.setopt(pycurl.SSLCERTTYPE, "PEM")
    easy.setopt(pycurl.SSLKEY_BLOB, client.key)
    easy.setopt(pycurl.SSLKEYTYPE, "PEM")
    # Without one OpenSSL would ask for it on the terminal.
    easy.setopt(pycurl.KEYPASSWD, "")
    # A session that is resumed is its first connection's client.
    easy.setopt(pycurl.SSL_SESSIONID_CACHE, 0)


def _lines(headers: CaseInsensitiveDict[str]) -> list[bytes]:
    """The request's headers, without the length, which is libcurl's to write, and without what libcurl would add."""
    lines = []
    # Its items() looks each name up again.
    for name, (_, value) in zip(headers, headers.lower_items(), strict=True):
        start = _start(name)
        if start is not None:
            # As nearly all are. The rest is looked at more closely.
            plain = isinstance(value, str) and value.isascii() and value.isprintable() and not value.isspace()
            lines.append(start + value.encode() if plain and value else _line(name, start, value))
    lines += _UNWANTED
    return lines


def _line(name: str, start: bytes, value: str | bytes) -> bytes:
    raw = _bytes(value, "latin-1", f"the value of {name}")
    if _CONTROL.search(raw):
        raise Unsendable(f"the value of {name} has a line break or a NUL")
    # libcurl takes "Name:" as "leave it out" and "Name;" as "send it empty".
    return start + raw if raw.strip() else start.rstrip(b": ") + b";"


@lru_cache(maxsize=REMEMBERED)
def _start(name: str) -> bytes | None:
    """How the line of a header of this name begins; None: it is not to be sent."""
    if not _HEADER_NAME.fullmatch(name):
        raise Unsendable("a header's name has a character that no name may have")
    return None if name.lower() == "content-length" else f"{name}: ".encode()


@lru_cache(maxsize=REMEMBERED)
def _request_target(url: str) -> str | None:
    target = _TARGET.fullmatch(url)
    return target and target[1]


def _bytes(text: str | bytes, encoding: str, what: str) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        pass  # it holds the whole text: what is raised must not have it as its context
    raise Unsendable(f"{what} cannot be written in {encoding}")
