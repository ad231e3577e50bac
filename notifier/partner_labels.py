"""The partner label of metrics: the first partners by their names, all others together."""

from __future__ import annotations

from django.conf import settings

OTHER = "other"


class PartnerLabels:
    """Safe for threads: a partner keeps its label, and there are never more than the setting allows (and ``other``)."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._named = 0

    def label(self, partner_id: str) -> str:
        """The partner's name while there is room for it, else ``other``."""
        found = self._labels.get(partner_id)
        if found is None:
            found = partner_id if self._named < settings.NOTIFIER_METRICS_PARTNERS else OTHER
            if found is OTHER:
                return found  # not kept: what is beyond the bound costs no memory
            self._named += 1
            self._labels[partner_id] = found
        return found
