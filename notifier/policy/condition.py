"""Success conditions: CEL expressions over a response (https://cel.dev; grammar by the `cel` package)."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import cel

from notifier.policy import condition_bounds
from notifier.policy.exchange import Exchange

DEFAULT_CONDITION = "status >= 200 && status < 400"
MAX_LENGTH = 1024
VARIABLES = ("status", "headers", "json", "text")

# Some errors of the parser are shown as the Rust value that they are.
_INNER = re.compile(r'\w+\(ParseError \{.*?msg: "([^"]*)".*')
# Evaluated at accept so that a condition of the wrong type is refused there, not at the first delivery.
_SAMPLE: dict[str, Any] = {"status": 200, "headers": {}, "json": {}, "text": ""}


# What the evaluation of a compiled expression raises.
_FAILURES = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError)


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
    names = set(program.variables())
    try:
        condition_bounds.check(expression, program.functions())
    except condition_bounds.TooMuch as error:
        raise ConditionError(str(error)) from None
    unknown = sorted(names - set(VARIABLES) - condition_bounds.bounds(expression).loop_variables)
    if unknown:
        raise ConditionError(f"it names {unknown[0][:80]!r}; there are only {', '.join(VARIABLES)}")
    try:
        result = program.execute(_SAMPLE)
    except _FAILURES as error:
        if "Undefined variable or function" in str(error) or "not a valid regex" in str(error):
            raise ConditionError(_first_line(error)) from None
        if isinstance(error, TypeError) and "json" not in names:
            # Only json can be of another type in a response than in the sample.
            raise ConditionError("it combines values of types that do not go together") from None
        return  # such as a key that the sample does not have
    if not isinstance(result, bool):
        raise ConditionError(f"it gives a {type(result).__name__}, not true or false")


def met(expression: str, exchange: Exchange) -> bool:
    """Whether the response meets the condition. One that fails on this response, or would take too long, is not met."""
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
    size = len(exchange.body) + sum(len(name) + len(value) for name, value in exchange.headers)
    longest = _longest(values["json"], values["headers"]) if condition_bounds.bounds(expression).loops else 0
    if not condition_bounds.affordable(expression, size=size, longest=longest):
        return False
    try:
        return program.execute(values) is True
    except _FAILURES:
        return False


def _longest(*values: Any) -> int:
    """Items of the longest list or object anywhere in the values."""
    longest, left = 0, [*values]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            longest = max(longest, len(value))
            left.extend(value.values() if isinstance(value, dict) else value)
    return longest


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
    text = (str(error).partition("ERROR: <input>:")[2] or str(error)).splitlines()[0]
    inner = _INNER.search(text)
    return (text[: inner.start()] + inner[1] if inner else text)[:200]
