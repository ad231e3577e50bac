"""Where a request came from, as far as the proxies in front of web can be believed."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings

# In a request's META: its id, as the answer's X-Request-ID has it.
REQUEST_ID = "notifier.request_id"


def client_address(request: Any, *args: Any) -> str:
    """The client's address; the socket's peer where no proxy is configured, or the header does not hold one.

    Each proxy adds its peer at the end of X-Forwarded-For, so with n proxies the nth from the end was written by the
    outermost of them. What stands before it is the client's own claim.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    proxies: int = settings.NOTIFIER_PROXIES
    if proxies == 0:
        return peer
    forwarded = [entry.strip() for entry in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if len(forwarded) < proxies:
        return peer
    try:
        return str(ipaddress.ip_address(forwarded[-proxies]))
    except ValueError:
        return peer
