"""Where partners' secrets are: in the database, in the environment, in mounted files, or in a backend of your own.

``NOTIFIER_SECRETS_BACKEND`` chooses. A backend is a class without arguments that has the two methods of ``Backend``.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

BACKENDS = {
    "database": "notifier.secret_store.database.DatabaseBackend",
    "environment": "notifier.secret_store.environment.EnvironmentBackend",
    "files": "notifier.secret_store.files.FilesBackend",
}


class Unavailable(Exception):
    """The backend cannot be asked now; the message says why and holds no secret."""


class Backend(Protocol):
    """What a store of secrets must be able to do. Called from several threads; ``values`` by workers alone.

    Either may raise ``Unavailable``. A database's own errors may pass: who calls waits for the database. What is
    returned is kept for ``NOTIFIER_SECRETS_CACHE_SECONDS`` by the caller, so a backend needs no cache of its own.
    """

    def known(self, partner_id: str, names: Collection[str]) -> set[str]:
        """Those of the names that the partner has a secret under; nothing is decrypted."""

    def values(self, partner_id: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """The partner's secrets of these names, each with its versions in use, the newest first. Unknown ones are left out."""


def backend() -> Backend:
    """The one that the settings choose; raises ``ImproperlyConfigured`` where it cannot be made."""
    return _made(settings.NOTIFIER_SECRETS_BACKEND)


@lru_cache(maxsize=4)
def _made(name: str) -> Backend:
    try:
        made: Backend = import_string(BACKENDS.get(name, name))()
    except (ImportError, TypeError) as error:
        raise ImproperlyConfigured(
            f"NOTIFIER_SECRETS_BACKEND={name!r} is neither {', '.join(BACKENDS)} nor the path of a class without "
            f"arguments, like package.module.Class: {error}"
        ) from None
    return made
