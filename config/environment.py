"""Typed reading of environment variables: a bad value is refused with a sentence that names the variable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured


class HiddenText(str):
    """A text that shows as ``***`` wherever settings are dumped, such as by ``manage.py diffsettings``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class PartnerSecrets:
    """Secrets by partner and name, each with its versions, the newest first; shows as ``***``."""

    __slots__ = ("value",)

    def __init__(self, value: dict[str, dict[str, tuple[str, ...]]]) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "'***'"


class Environment:
    """Reads variables and remembers their names, so that a test can hold the documentation to them.

    Every reader raises ``ImproperlyConfigured`` with the variable's name, its value and what it should have been.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = os.environ if values is None else values
        self.names: dict[str, object] = {}

    def _raw(self, name: str, default: object) -> str | None:
        self.names[name] = default
        value = self._values.get(name)
        return None if value is None or value == "" else value

    def text(self, name: str, default: str = "", *, choices: tuple[str, ...] = ()) -> str:
        value = self._raw(name, default)
        if value is None:
            return default
        if choices and value not in choices:
            raise ImproperlyConfigured(f"{name}={value!r} is not one of {', '.join(choices)}.")
        return value

    def required(self, name: str, why: str) -> str:
        value = self._raw(name, "(required)")
        if value is None:
            raise ImproperlyConfigured(f"{name} is not set. {why}")
        return HiddenText(value)

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        value = self._raw(name, default)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.") from None
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(f"{name}={value!r} is not between {minimum} and {maximum}.")
        return number

    def seconds(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        value = self._raw(name, default)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            raise ImproperlyConfigured(f"{name}={value!r} is not a number of seconds.") from None
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(f"{name}={value!r} is not between {minimum} and {maximum} seconds.")
        return number

    def boolean(self, name: str, default: bool) -> bool:
        value = self._raw(name, default)
        if value is None:
            return default
        if value.lower() in {"1", "true", "yes", "on"}:
            return True
        if value.lower() in {"0", "false", "no", "off"}:
            return False
        raise ImproperlyConfigured(f"{name}={value!r} is neither true nor false.")

    def names_list(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """A comma-separated list; blanks around the entries do not count."""
        value = self._raw(name, ",".join(default))
        if value is None:
            return list(default)
        return [entry.strip() for entry in value.split(",") if entry.strip()]

    def path(self, name: str, default: Path) -> Path:
        value = self._raw(name, default)
        return default if value is None else Path(value).expanduser().resolve()

    def file(self, name: str, default: str) -> str:
        """A file that is there."""
        value = self._raw(name, default) or default
        if not Path(value).is_file():
            raise ImproperlyConfigured(f"{name}={value!r} is not a file.")
        return value

    def broker(self, name: str, default: str) -> str:
        """A broker URL; what it holds besides the scheme may be a password, and is not repeated."""
        value = self._raw(name, default) or default
        if not value.startswith(("redis://", "rediss://", "redis+socket://", "sentinel://")):
            raise ImproperlyConfigured(f"{name} must begin with redis://, rediss://, redis+socket:// or sentinel://.")
        return HiddenText(value)

    def checked_list(self, name: str, check: Callable[[str], object], default: tuple[str, ...] = ()) -> list[str]:
        """A comma-separated list; ``check`` raises ``ValueError`` with what is wrong with an entry."""
        entries = self.names_list(name, default)
        for entry in entries:
            try:
                check(entry)
            except ValueError as error:
                raise ImproperlyConfigured(f"{name}: {error}.") from None
        return entries

    def proxy(self, name: str) -> str:
        """``http://[user:password@]host:port``, which is not repeated: it may hold a password."""
        value = self._raw(name, "")
        if value is None:
            return ""
        try:
            parts = urlsplit(value)
            usable = parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/")
        except ValueError:
            usable = False
        if not usable:
            raise ImproperlyConfigured(
                f"{name} is not a proxy like http://proxy.internal:3128 or http://user:password@…."
            )
        return value

    def fernet_keys(self, name: str) -> list[str]:
        """A comma-separated list of Fernet keys, none of which is ever repeated."""
        keys = self.names_list(name)
        for number, key in enumerate(keys, start=1):
            try:
                Fernet(key)
            except ValueError:
                raise ImproperlyConfigured(
                    f"{name}: key number {number} is not a Fernet key (32 bytes in URL-safe base64)."
                ) from None
        return [HiddenText(key) for key in keys]

    def partner_secrets(self, name: str) -> PartnerSecrets:
        """JSON: ``{"partner": {"name": "value" or ["newest", "older", …]}}``; nothing of it is ever repeated."""
        value = self._raw(name, "")
        try:
            given = json.loads(value or "{}")
            found = {
                partner: {
                    secret: tuple(versions if isinstance(versions, list) else [versions])
                    for secret, versions in secrets.items()
                }
                for partner, secrets in given.items()
            }
        except (ValueError, AttributeError):
            found = None
        texts = found is not None and all(
            versions and all(isinstance(version, str) and version for version in versions)
            for secrets in found.values()
            for versions in secrets.values()
        )
        if found is None or not texts:
            raise ImproperlyConfigured(f'{name} is not JSON like {{"partner": {{"name": "value"}}}}.')
        return PartnerSecrets(found)

    def database(self, name: str, default: str) -> dict[str, Any]:
        """A database URL: ``mysql://user:password@host:port/name`` or ``sqlite:////path/file``."""
        value = self._raw(name, "sqlite:///<NOTIFIER_DATA_DIR>/notifier.sqlite3") or default
        if not value.startswith(("mysql://", "sqlite:///")):
            # Not repeated: it may hold a password.
            raise ImproperlyConfigured(f"{name} must begin with mysql:// or sqlite:///.")
        try:
            config = environ.Env.db_url_config(value)
        except (ValueError, environ.ImproperlyConfigured):
            raise ImproperlyConfigured(
                f"{name} is not a database URL like mysql://user:password@host:port/name."
            ) from None
        if not config.get("NAME"):
            raise ImproperlyConfigured(f"{name} names no database; it should end in /name.")
        return {**config, "PASSWORD": HiddenText(config.get("PASSWORD") or "")}
