from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from benchmarks.textbook.celery import app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.textbook.settings")

__all__ = ["app", "application"]

application = get_wsgi_application()
