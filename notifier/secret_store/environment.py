"""Secrets in one environment variable, NOTIFIER_SECRETS: ``{"partner": {"name": "value" or ["newest", "older"]}}``."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings


class EnvironmentBackend:
    """Read once, when the process starts. Settings are read nowhere else, so a new value needs a restart."""

    def known(self, partner_id: str, names: Collection[str]) -> set[str]:
        return set(names) & settings.NOTIFIER_SECRETS.value.get(partner_id, {}).keys()

    def values(self, partner_id: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        mine = settings.NOTIFIER_SECRETS.value.get(partner_id, {})
        return {name: mine[name] for name in names if name in mine}
