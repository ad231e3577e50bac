"""What the admin's theme needs beyond the policy of every other page; everything still comes from our own host.

``'unsafe-eval'``: the theme's menus are Alpine expressions in attributes, which Alpine compiles with ``new Function``. Inline
scripts stay forbidden, so markup that slipped through escaping would have to be an Alpine attribute to run.
``style-src 'unsafe-inline'``: the theme writes its colours as a ``<style>`` element and widths as ``style`` attributes.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

PREFIX = "/admin/"
NEEDED = {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]}


class ThemePolicy:
    """Stands right behind django-csp's middleware, which reads ``_csp_update`` off the response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if request.path_info.startswith(PREFIX):
            response._csp_update = NEEDED  # type: ignore[attr-defined]  # noqa: SLF001 - as django-csp's own decorator does
        return response
