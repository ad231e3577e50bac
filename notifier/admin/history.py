"""Who did what by an action: Django's own log of the admin, shown on each object's history page."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model
from django.http import HttpRequest


def log(request: HttpRequest, objects: Sequence[Model], sentence: str) -> None:
    """Note that the person who asks did this to these objects."""
    if objects:
        LogEntry.objects.log_actions(str(request.user.pk), objects, CHANGE, sentence)
