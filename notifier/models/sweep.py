"""When the sweep last ran: one row, whose guarded update lets one sweep at a time pass."""

from __future__ import annotations

from django.db import models


class SweepState(models.Model):
    name = models.CharField(max_length=16, primary_key=True)
    swept_at = models.DateTimeField()
    # The last sweep that beat asked for; workers sweep too when there is none.
    beat_at = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return f"{self.name} at {self.swept_at:%H:%M:%S}"
