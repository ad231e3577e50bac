"""Labels of metrics that come from data, such as partners: the first by their names, all others together."""

from __future__ import annotations

from django.conf import settings

OTHER = "other"


class BoundedLabels:
    """Safe for threads: a name keeps its label, and there are about as many as ``NOTIFIER_METRICS_PARTNERS``, and ``other``."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def label(self, name: str) -> str:
        """The name while there is room for it, else ``other``. What is beyond the bound costs no memory."""
        if name in self._named:
            return name
        if len(self._named) >= settings.NOTIFIER_METRICS_PARTNERS:
            return OTHER
        self._named.add(name)
        return name
