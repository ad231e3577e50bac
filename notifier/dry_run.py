"""A dry run of a connection: allow-list → DNS → address → TCP → TLS → certificate, by the rules of a delivery. Sends nothing.

No byte of HTTP goes to the partner: the connection is opened, TLS is shaken hands over, and it is closed. Through an egress
proxy the proxy is asked for the connection (CONNECT), as a delivery would ask it.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from cryptography import x509
from django.conf import settings

from notifier import gate, listeners
from notifier.listeners import LookUp, look_up
from notifier.models import Partner
from notifier.policy.destination import Target, TargetError, target

# How long to wait for the addresses of the service itself, to which nothing may be sent.
OWN_NAMES_SECONDS = 5.0

_PROXY_ANSWER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was looked at, whether it is in order, and what was found, as a sentence for people."""

    name: str
    ok: bool
    found: str


class _Failed(Exception):
    """The step is not in order; the message says why."""


def steps(url: str, partner: Partner, *, now: datetime, look_up: LookUp = look_up) -> Iterator[Step]:
    """Each step as it is taken; the first that is not in order is the last. Takes the partner's connect time-out a step."""
    listeners.shared().start(wait_seconds=OWN_NAMES_SECONDS)
    try:
        where = target(url)
    except TargetError as error:
        yield Step("URL", False, f"{url!r} cannot be used: {error}")
        return
    yield Step("URL", True, f"{where.url} is what would be sent")
    refusal = gate.host_refusal(where, partner)
    found = f"an entry of {partner.partner_id}'s allow_hosts admits it" if refusal is None else refusal.message
    yield Step("allow-list", refusal is None, found)
    if refusal is not None:
        return
    addresses: list[str] = []
    for name, take in (
        ("DNS", lambda: _look_up(where, addresses, look_up)),
        ("address", lambda: _judge(where, addresses, partner)),
    ):
        step = _step(name, take)
        yield step
        if not step.ok:
            return
    yield from _connect(where, addresses, partner, now)


def _step(name: str, take: Callable[[], str]) -> Step:
    try:
        return Step(name, True, take())
    except _Failed as failure:
        return Step(name, False, str(failure))


def _look_up(where: Target, addresses: list[str], look_up: LookUp) -> str:
    if where.address is not None:
        addresses.append(where.host)
        return f"{where.host} is an address; nothing to look up"
    try:
        addresses.extend(dict.fromkeys(look_up(where.host)))
    except (OSError, UnicodeError) as error:
        raise _Failed(
            f"{where.host} cannot be looked up: {error}. Is the name right, and does it resolve here?"
        ) from None
    if not addresses:
        raise _Failed(f"{where.host} has no address")
    return f"{where.host} stands for {', '.join(addresses)}"


def _judge(where: Target, addresses: list[str], partner: Partner) -> str:
    for address in addresses:
        reason = gate.address_refusal(ip_address(address.partition("%")[0]), where.port, partner)
        if reason is not None:
            raise _Failed(
                f"{address} may not be connected to: {reason}. One such address is enough to refuse the host; if it is meant, "
                "its range belongs into the partner's allow_private_cidrs"
            )
    return "all may be connected to"


def _connect(where: Target, addresses: list[str], partner: Partner, now: datetime) -> Iterator[Step]:
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        timeout = partner.connect_timeout_seconds
        step = _step("TCP", lambda: _open(where, addresses, timeout, sockets))
        for opened in sockets:
            stack.callback(opened.close)
        yield step
        if not step.ok or where.scheme != "https":
            return
        yield from _shake_hands(where, sockets[0], lambda: _again(where, addresses, timeout, stack), now)


def _open(where: Target, addresses: list[str], timeout: float, sockets: list[socket.socket]) -> str:
    """A connection to the first address that takes it, as a delivery does; through the proxy to the first."""
    if settings.NOTIFIER_EGRESS_PROXY:
        return _open_by_proxy(where, addresses[0], timeout, sockets)
    troubles: list[str] = []
    for address in addresses:
        try:
            sockets.append(socket.create_connection((address, where.port), timeout=timeout))
        except OSError as error:
            troubles.append(f"{address} port {where.port}: {error.strerror or error}")
        else:
            return f"connected to {address} port {where.port}"
    raise _Failed(f"no connection to {'; '.join(troubles)}")


def _open_by_proxy(where: Target, address: str, timeout: float, sockets: list[socket.socket]) -> str:
    parts = urlsplit(settings.NOTIFIER_EGRESS_PROXY)
    proxy = f"the egress proxy {parts.hostname} port {parts.port}"
    to = f"[{address}]:{where.port}" if ":" in address else f"{address}:{where.port}"
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    if parts.username:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials).decode()}")
    try:
        opened = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=timeout)
        sockets.append(opened)
        opened.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < _PROXY_ANSWER_BYTES and (more := opened.recv(1)):
            answer += more
    except OSError as error:
        raise _Failed(f"{proxy} cannot be used: {error.strerror or error}") from None
    status = answer.split(b"\r\n")[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise _Failed(f"{proxy} does not connect to {to}: {status[:100] or 'it closed the connection'}")
    return f"connected to {address} port {where.port} by {proxy}"


def _again(where: Target, addresses: list[str], timeout: float, stack: contextlib.ExitStack) -> socket.socket:
    sockets: list[socket.socket] = []
    _open(where, addresses, timeout, sockets)
    stack.callback(sockets[0].close)
    return sockets[0]


def _shake_hands(
    where: Target, opened: socket.socket, again: Callable[[], socket.socket], now: datetime
) -> Iterator[Step]:
    context = ssl.create_default_context(cafile=settings.NOTIFIER_CA_FILE)
    try:
        with context.wrap_socket(opened, server_hostname=where.host) as secured:
            yield Step("TLS", True, f"{secured.version()}, {(secured.cipher() or ('?',))[0]}")
            yield Step("certificate", True, _described(secured.getpeercert(binary_form=True), now))
    except ssl.SSLCertVerificationError as error:
        yield Step("TLS", True, "the handshake came as far as the certificate")
        shown = _unverified(where, again, now)
        yield Step("certificate", False, f"it is not accepted: {error.verify_message}. {shown}".strip())
    except OSError as error:
        yield Step("TLS", False, f"the handshake failed: {error.strerror or error}")


def _unverified(where: Target, again: Callable[[], socket.socket], now: datetime) -> str:
    """What a certificate that is not accepted says of itself, by a second connection; nothing where that fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only to read what it says
    try:
        with context.wrap_socket(again(), server_hostname=where.host) as secured:
            return _described(secured.getpeercert(binary_form=True), now)
    except (OSError, _Failed):
        return ""


def _described(raw: bytes | None, now: datetime) -> str:
    if not raw:
        return "the partner showed none"
    certificate = x509.load_der_x509_certificate(raw)
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    until = certificate.not_valid_after_utc
    left = (until - now.astimezone(UTC)).days
    when = f"{left} days left" if left >= 0 else "expired"
    issuer = certificate.issuer.rfc4514_string() or "nobody"
    text = f"for {', '.join(names[:10]) or 'no name'}, issued by {issuer}, valid until {until:%Y-%m-%d} ({when})"
    return "".join(character if character.isprintable() else "?" for character in text)
