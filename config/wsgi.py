"""The web process: `granian --interface wsgi config.wsgi:application`."""

import os
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries

from config import collector
from config.database import patience
from notifier.tracing import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django = get_wsgi_application()
tracing.start_if_configured(service="web")
if settings.DATABASES["default"]["ENGINE"].endswith("mysql"):
    # Before the first connection: in this process somebody waits for the answer.
    settings.DATABASES["default"]["OPTIONS"].update(patience(settings.NOTIFIER_WEB_DATABASE_TIMEOUT_SECONDS))
collector.settle()
# What each request would do for nothing, and takes a thirtieth of an accept: to forget statements, which are only noted with DEBUG;
# to close caches, of which there is none; and to look after its connection when it ends, as the thread's next request does it
# when it begins.
request_started.disconnect(reset_queries)
request_finished.disconnect(close_caches)
request_finished.disconnect(close_old_connections)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Give the server what is complete as a list, which granian sends in one go.

    Any other iterable it asks for piece by piece, and takes the interpreter's lock for each.
    """
    response: Any = django(environ, start_response)
    if getattr(response, "streaming", True):
        return response  # type: ignore[no-any-return]  # a file, or what wraps one
    content = [response.content]
    response.close()
    return content
