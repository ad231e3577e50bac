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

# Blanks and comments may stand between any two words. A loop's name in a string counts as a loop, which errs on the safe side.
_GAP = r"(?:\s|//[^\n]*\n)*"
_LOOP = re.compile(rf"\b(all|exists|exists_one|map|filter){_GAP}\({_GAP}([A-Za-z_]\w*)?")
# Some errors of the parser are shown as the Rust value that they are.
_INNER = re.compile(r'\w+\(ParseError \{.*?msg: "([^"]*)".*')
_NAME = re.compile(r"\b(?:json|text|headers)\b")
# A loop copies what it names of the response anew for each item, so its work is items × bytes × names. Unbounded, one
# response of 64 KiB held a worker for 28 s; now the worst condition found takes 0.3 s. 100 items in 20 KB are within it.
MAX_LOOP_WORK = 2_000_000
MAX_LOOP_NAMES = 8
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
    names, loops = set(program.variables()), _LOOP.findall(expression)
    if loops:
        _check_loops(expression, [kind for kind, _ in loops], program.functions())
    unknown = sorted(names - set(VARIABLES) - {variable for _, variable in loops})
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


def _check_loops(expression: str, kinds: list[str], functions: list[str]) -> None:
    if len(kinds) > 1:
        raise ConditionError("it uses more than one of all, exists, exists_one and filter")
    if kinds == ["map"]:
        # Its list is copied for each item, with whatever is put into it: 1,000 items took 35 s and all memory.
        raise ConditionError("it uses map; there are only all, exists, exists_one and filter")
    if "matches" in functions:
        # The pattern is compiled for each item, which takes up to 25 ms.
        raise ConditionError(f"it uses matches beside {kinds[0]}")
    if len(_NAME.findall(expression)) > MAX_LOOP_NAMES:
        raise ConditionError(f"it names json, text and headers more than {MAX_LOOP_NAMES} times beside {kinds[0]}")


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
    if _LOOP.search(expression) and _loop_work(values, exchange) > MAX_LOOP_WORK:
        return False
    try:
        return program.execute(values) is True
    except _FAILURES:
        return False


def _loop_work(values: dict[str, Any], exchange: Exchange) -> int:
    """Items of the longest list or object, times the bytes that each of them may make a loop read."""
    longest, values_left = 0, [values["json"], values["headers"]]
    while values_left:
        value = values_left.pop()
        if isinstance(value, dict | list):
            longest = max(longest, len(value))
            values_left.extend(value.values() if isinstance(value, dict) else value)
    return longest * (len(exchange.body) + sum(len(name) + len(value) for name, value in exchange.headers))


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
