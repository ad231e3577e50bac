"""Who asks (API key) and whether the key has the scope that the view names."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from notifier import api_keys, clock
from notifier.api.errors import Problem
from notifier.models import ApiKey, Scope

Scopes = dict[str, tuple[Scope, ...]]


class KeyRequest(Request):
    """A request that came with an API key: what every view behind ``HasScope`` gets."""

    auth: ApiKey


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        """The key is ``request.auth``; there is no user."""
        scheme, _, plain = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not plain:
            raise NotAuthenticated
        key = api_keys.find(plain.strip())
        if key is None:
            raise AuthenticationFailed
        api_keys.touch(key, now=clock.now())
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="notifier"'


class HasScope(BasePermission):
    """A view names the scopes, any of which is enough, by method: ``scopes = {"GET": (Scope.READ,)}``."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.auth is None:
            raise NotAuthenticated
        # HEAD is answered by get().
        wanted = view.scopes.get("GET" if request.method == "HEAD" else request.method, ())
        if wanted and not any(scope in cast(ApiKey, request.auth).scopes for scope in wanted):
            names = " or ".join(str(scope.value) for scope in wanted)
            raise Problem(403, "missing_scope", f"This key does not have the scope {names}.")
        return True


def require_partner(key: ApiKey, partner_id: str) -> None:
    """Refuse a partner that the key is not made for, whether it exists or not."""
    if key.partners and partner_id not in key.partners:
        raise Problem(403, "partner_not_permitted", f"This key may not be used for partner {partner_id!r}.")
