"""System checks: a store of secrets that cannot be used is found before the first notification needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from notifier import secret_store


@register()
def secrets_backend_exists(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    try:
        secret_store.backend()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="notifier.E001")]
    return []
