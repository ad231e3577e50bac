"""The web process: `granian --interface wsgi config.wsgi:application`."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.database import patience
from notifier.tracing import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
tracing.start_if_configured(service="web")
if settings.DATABASES["default"]["ENGINE"].endswith("mysql"):
    # Before the first connection: in this process somebody waits for the answer.
    settings.DATABASES["default"]["OPTIONS"].update(patience(settings.NOTIFIER_WEB_DATABASE_TIMEOUT_SECONDS))
