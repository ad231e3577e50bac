"""Middleware for people's pages, which the API goes past: it has no sessions, cookies, users, messages, logins or files."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from axes.middleware import AxesMiddleware
from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

if TYPE_CHECKING:
    from django.utils.deprecation import MiddlewareMixin as Middleware
else:
    Middleware = object

API = "/v1/"
JSON = ("application/json", "application/problem+json")


class _PagesOnly(Middleware):
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request) if request.path_info.startswith(API) else super().__call__(request)
        return cast(HttpResponseBase, answer)  # there is nothing asynchronous here


class Files(_PagesOnly, WhiteNoiseMiddleware):  # type: ignore[misc]  # WhiteNoise has no types
    pass


class Sessions(_PagesOnly, SessionMiddleware):
    pass


class Forgery(_PagesOnly, CsrfViewMiddleware):
    pass


class Users(_PagesOnly, AuthenticationMiddleware):
    pass


class Messages(_PagesOnly, MessageMiddleware):
    pass


class Lockouts(_PagesOnly, AxesMiddleware):  # type: ignore[misc]  # axes has no types
    pass


class ContentPolicy(CSPMiddleware):
    """For the API's JSON it is built once: each time, it took a tenth of an accept."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if request.path_info.startswith(API) and response.get("Content-Type") in JSON:
            response[HEADER] = _policy()
            return response
        return super().process_response(request, response)


@cache
def _policy() -> str:
    """The settings', as an answer has it that asks for nothing else."""
    return str(build_policy())
