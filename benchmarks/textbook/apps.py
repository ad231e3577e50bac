from __future__ import annotations

from django.apps import AppConfig


class TextbookConfig(AppConfig):
    name = "benchmarks.textbook"
    label = "textbook"
