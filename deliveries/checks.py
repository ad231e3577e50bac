"""System checks: settings that only make sense together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

# Between a request's end and the lease's: time for the claim's commit and the record's.
LEASE_MARGIN_SECONDS = 2.0


@register()
def lease_outlives_request(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    needed = settings.NOTIFIER_MAX_TIMEOUT_SECONDS + LEASE_MARGIN_SECONDS
    if needed <= settings.NOTIFIER_LEASE_SECONDS:
        return []
    return [
        Error(
            f"NOTIFIER_LEASE_SECONDS={settings.NOTIFIER_LEASE_SECONDS:g} is shorter than the longest request: a lease "
            "could run out while its request is on the wire, and the notification would be sent twice.",
            hint=f"Set it to at least NOTIFIER_MAX_TIMEOUT_SECONDS + {LEASE_MARGIN_SECONDS:g} = {needed:g}.",
            id="deliveries.E001",
        )
    ]
