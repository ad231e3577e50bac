"""The policy is pure: no database (pytest-django refuses it unasked), no network, and the same examples in every run."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("policy", database=None, deadline=None, derandomize=True, max_examples=300)
settings.load_profile("policy")


def _refused(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("policy opened a socket")


@pytest.fixture(scope="module", autouse=True)
def _no_sockets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
            patch.setattr(socket, name, _refused)
        yield
