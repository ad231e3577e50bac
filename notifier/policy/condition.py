"""Success conditions: CEL expressions over a response (https://cel.dev; grammar by the `cel` package)."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import cel

from notifier.policy.exchange import Exchange

DEFAULT_CONDITION = "status >= 200 && status < 400"
MAX_LENGTH = 1024
VARIABLES = ("status", "headers", "json", "text")

_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
# Evaluated at accept so that a condition of the wrong type is refused there, not at the first delivery.
_SAMPLE: dict[str, Any] = {"status": 200, "headers": {}, "json": {}, "text": ""}


class ConditionError(ValueError):
    """The expression cannot be used; the message says why, in words for the person who wrote it."""


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def check(expression: str) -> None:
    """Refuse an expression that can never decide about a response; raises ``ConditionError``."""
    if len(expression) > MAX_LENGTH:
        raise ConditionError(f"it is longer than {MAX_LENGTH} characters")
    try:
        program = _program(expression)
    except ValueError as error:
        raise ConditionError(f"it is not valid CEL: {_first_line(error)}") from None
    bound = _MACRO.findall(expression)
    # Each loop inside a loop multiplies the work; one loop over a response is linear in what is read of it.
    if len(bound) > 1:
        raise ConditionError("it uses more than one of all, exists, exists_one, map and filter")
    unknown = sorted(set(program.variables()) - set(VARIABLES) - set(bound))
    if unknown:
        raise ConditionError(f"it names {unknown[0]!r}; there are only {', '.join(VARIABLES)}")
    try:
        result = program.execute(_SAMPLE)
    except (RuntimeError, ValueError, TypeError, KeyError, ArithmeticError, LookupError) as error:
        if "Undefined variable or function" in str(error):
            raise ConditionError(_first_line(error)) from None
        return  # such as a key that the sample does not have
    if not isinstance(result, bool):
        raise ConditionError(f"it gives a {type(result).__name__}, not true or false")


def met(expression: str, exchange: Exchange) -> bool:
    """Whether the response meets the condition. An expression that fails on this response is not met."""
    if exchange.status is None:
        return False
    if expression == DEFAULT_CONDITION:
        return 200 <= exchange.status < 400
    program = _program(expression)
    names = set(program.variables())
    values: dict[str, Any] = {"status": exchange.status, "headers": {}, "json": None, "text": ""}
    if "headers" in names:
        values["headers"] = _joined(exchange.headers)
    if "text" in names:
        values["text"] = exchange.body.decode("utf-8", "replace")
    if "json" in names:
        values["json"] = _json(exchange)
    try:
        return program.execute(values) is True
    except (RuntimeError, ValueError, TypeError, KeyError, ArithmeticError, LookupError):
        return False


def _joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Lower-case names; several values of one name joined as RFC 9110, section 5.3 does."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _json(exchange: Exchange) -> Any:
    if exchange.body_truncated:
        return None
    try:
        return json.loads(exchange.body)
    except (ValueError, RecursionError):
        return None


def _first_line(error: Exception) -> str:
    text = str(error).partition("ERROR: <input>:")[2] or str(error)
    return text.splitlines()[0][:200]
