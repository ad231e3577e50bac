"""What somebody sees who failed to log in too often."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from notifier.api.errors import Problem, refusal


def locked_out(request: HttpRequest, *args: Any) -> HttpResponse:
    """The same whether the account exists or not, and whether the password would be right or not."""
    seconds: int = settings.NOTIFIER_LOGIN_PAUSE_SECONDS
    message = f"Too many failed logins of this name from this address. Try again in {seconds} seconds."
    return refusal(request, Problem(429, "rate_limited", message, headers={"Retry-After": str(seconds)}))
