"""Secrets as files that something else keeps up to date, such as a mounted Kubernetes secret or a Vault agent.

NOTIFIER_SECRETS_DIR/<partner_id>/<name> holds the newest value, <name>.previous, where there is one, the one before, which
still signs. Read anew each time, so that a change needs no restart. One line break at the end does not belong to the value.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from django.conf import settings

from notifier.policy.partner_auth import SECRET_NAME
from notifier.secret_store import Unavailable

PREVIOUS = ".previous"


class FilesBackend:
    def known(self, partner_id: str, names: Collection[str]) -> set[str]:
        return {name for name in names if self._read(partner_id, name) is not None}

    def values(self, partner_id: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        versions = {name: (self._read(partner_id, name), self._read(partner_id, name, PREVIOUS)) for name in names}
        return {
            name: (newest,) if previous is None else (newest, previous)
            for name, (newest, previous) in versions.items()
            if newest is not None
        }

    @staticmethod
    def _read(partner_id: str, name: str, suffix: str = "") -> str | None:
        root = Path(settings.NOTIFIER_SECRETS_DIR)
        if not root.is_dir():
            raise Unavailable("NOTIFIER_SECRETS_DIR is not a folder that can be read")
        # Both are legal ids of partners, and would be folders of others.
        if partner_id in (".", "..") or not SECRET_NAME.fullmatch(name):
            return None
        try:
            return (root / partner_id / f"{name}{suffix}").read_bytes().decode().removesuffix("\n").removesuffix("\r")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"a file in NOTIFIER_SECRETS_DIR cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            pass  # it holds the whole file: what is raised must not have it as its context
        raise Unavailable("a file in NOTIFIER_SECRETS_DIR is not UTF-8")
