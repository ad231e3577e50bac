"""A parametrized case with a name, in one line."""

from __future__ import annotations

from typing import Any

import pytest


def case(*values: Any, id: str) -> Any:  # noqa: A002 - pytest's own word
    return pytest.param(*values, id=id)
