"""What a success condition may cost: bounds known before it is evaluated, because an evaluation cannot be interrupted.

The library runs a condition in one call that holds the interpreter: no timer and no other thread gets in. Unbounded, 1,000
characters were enough for 31 s and 1.1 GB on one response of 64 KiB (``json + json + …``), for 28 s (a loop in a loop) and
for minutes (``text.matches`` with ``.{0,5000}``, again and again).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

# A loop copies what it names of the response anew for each item, so its work is items × bytes × names. Unbounded, one
# response of 64 KiB held a worker for 28 s; now the worst condition found takes 0.3 s. 100 items in 20 KB are within it.
MAX_LOOP_WORK = 2_000_000
MAX_LOOP_NAMES = 8
# Each use of json, text or headers copies it, and a sum copies what is before it: names² × bytes. 12 names in 64 KiB are
# within it, 20 in 23 KiB.
MAX_NAMES = 20
MAX_COPY_WORK = 12 * 12 * 65_536
# A pattern is tried at each byte with as many states as it has steps: steps × bytes.
MAX_PATTERNS = 4
MAX_PATTERN_STEPS = 300
MAX_PATTERN_WORK = MAX_PATTERN_STEPS * 131_072

# The library knows exists_one by a second name.
_LOOPS = ("all", "exists", "exists_one", "existsOne", "map", "filter")
# Blanks and comments may stand between any two words. A loop's name in a string counts as a loop, which errs on the safe side.
_GAP = r"(?:\s|//[^\n]*\n)*"
_LOOP = re.compile(rf"\b({'|'.join(_LOOPS)}){_GAP}\({_GAP}([A-Za-z_]\w*)?")
_NAME = re.compile(r"\b(?:json|text|headers)\b")
# CEL's strings (language definition, "Values": raw or not, three quotes or one) and comments.
_STRING_OR_COMMENT = re.compile(
    r"""(?P<comment>//[^\n]*)|(?P<raw>\b(?:[bB]?[rR]|[rR][bB]))?(?P<quotes>'''|\"\"\"|'|")""", re.VERBOSE
)
_LITERAL_PATTERN = re.compile(r"\bmatches\s*\(\s*\"(\d+)\"\s*\)")
_UNREADABLE = "(?x)"
_MATCHES = re.compile(r"\bmatches\b")
_STEP = re.compile(
    r"(?P<escape>\\(?:[pPxuU]\{[^}]*\}|[pP][A-Za-z]|.))|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))"
    r"|(?P<again>[*+?])|\{\s*(?P<low>\d*)\s*(?:,\s*(?P<high>\d*)\s*)?\}|.",
    re.DOTALL,
)


class TooMuch(ValueError):
    """The expression could take too long or too much memory; the message says what in it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an expression will need, by its text alone."""

    loops: tuple[str, ...]
    loop_variables: frozenset[str]
    names: int
    pattern_steps: int


@lru_cache(maxsize=1024)
def bounds(expression: str) -> Bounds:
    """Count; refuses nothing."""
    loops = _LOOP.findall(expression)
    return Bounds(
        loops=tuple(kind for kind, _ in loops),
        loop_variables=frozenset(variable for _, variable in loops),
        names=len(_NAME.findall(expression)),
        pattern_steps=sum(steps(pattern) for pattern in _patterns(expression)[1]),
    )


def check(expression: str, functions: Collection[str]) -> None:
    """Raise ``TooMuch`` where the expression could hold a worker up. ``functions`` is what it calls, by the parser."""
    found = bounds(expression)
    if found.loops:
        _check_loops(found, functions)
    if found.names > MAX_NAMES:
        raise TooMuch(f"it names json, text and headers more than {MAX_NAMES} times")
    if "matches" in functions:
        _check_patterns(expression)


def _check_loops(found: Bounds, functions: Collection[str]) -> None:
    kind = found.loops[0]
    if len(found.loops) > 1:
        raise TooMuch("it uses more than one of all, exists, exists_one and filter")
    if kind == "map":
        # Its list is copied for each item, with whatever is put into it: 1,000 items took 35 s and all memory.
        raise TooMuch("it uses map; there are only all, exists, exists_one and filter")
    if "matches" in functions:
        # The pattern is compiled for each item, which takes up to 25 ms.
        raise TooMuch(f"it uses matches beside {kind}")
    if found.names > MAX_LOOP_NAMES:
        raise TooMuch(f"it names json, text and headers more than {MAX_LOOP_NAMES} times beside {kind}")


def _check_patterns(expression: str) -> None:
    calls, patterns = _patterns(expression)
    if len(patterns) != calls or not patterns:
        # One from the response would be the partner's to choose: 60 KB of it took 0.6 s and 160 MB to compile.
        raise TooMuch("it gives matches something else than one pattern in quotes")
    if len(patterns) > MAX_PATTERNS:
        raise TooMuch(f"it uses matches more than {MAX_PATTERNS} times")
    if _UNREADABLE in patterns:
        raise TooMuch("it has a pattern with escapes of CEL's; write the pattern raw, like r'\\d+'")
    if any(re.search(r"\(\?[a-zA-Z-]*x", pattern) for pattern in patterns):
        raise TooMuch("it has a pattern with the flag x")
    if sum(map(steps, patterns)) > MAX_PATTERN_STEPS:
        raise TooMuch(
            f"its patterns have more than {MAX_PATTERN_STEPS} steps together; a part that is repeated n times counts n times"
        )


def affordable(expression: str, *, size: int, longest: int) -> bool:
    """Whether a response of ``size`` bytes, whose longest list or object has ``longest`` items, is within the bounds."""
    found = bounds(expression)
    if found.loops and longest * size > MAX_LOOP_WORK:
        return False
    return found.names * found.names * size <= MAX_COPY_WORK and found.pattern_steps * size <= MAX_PATTERN_WORK


def _patterns(expression: str) -> tuple[int, list[str]]:
    """How often ``matches`` stands in the code, and the patterns of those calls that have one in quotes."""
    code, strings = _without_strings(expression)
    return len(_MATCHES.findall(code)), [strings[int(number)] for number in _LITERAL_PATTERN.findall(code)]


def _without_strings(expression: str) -> tuple[str, list[str]]:
    """The code with each string replaced by its number in quotes and each comment by a blank, and the strings."""
    code: list[str] = []
    strings: list[str] = []
    at = 0
    while found := _STRING_OR_COMMENT.search(expression, at):
        code.append(expression[at : found.start()])
        if found["comment"] is not None:
            code.append(" ")
            at = found.end()
            continue
        inner = r"(?s:.)*?" if found["raw"] else r"(?s:\\.|[^\\])*?"
        closed = re.compile(rf"({inner}){found['quotes']}").match(expression, found.end())
        if closed is None:  # no valid CEL
            return "", []
        code.append(f' "{len(strings)}" ')
        strings.append(closed[1] if found["raw"] else _unescaped(closed[1]))
        at = closed.end()
    return "".join(code) + expression[at:], strings


def _unescaped(string: str) -> str:
    """Without the escapes of quotes and backslashes. What else is escaped could be a brace, and is not read."""
    if any(escaped not in "\\'\"" for escaped in re.findall(r"\\(.)", string, re.DOTALL)):
        return _UNREADABLE
    return re.sub(r"\\(.)", r"\1", string)


@lru_cache(maxsize=1024)
def steps(pattern: str) -> int:
    """How many steps a pattern has once its counted repetitions are written out: ``(ab){3}c`` has 7."""
    groups, last = [0], 0
    for step in _STEP.finditer(pattern):
        if step["open"]:
            groups.append(0)
            last = 0
        elif step["close"]:
            last = groups.pop() if len(groups) > 1 else 0
            groups[-1] += last
        elif step["low"] is not None:
            times = max(int(step["low"] or 0), int(step["high"] or 0))
            groups[-1] += last * max(0, times - 1)
            last *= max(1, times)
        elif not step["again"]:
            last = 1
            groups[-1] += last
    return sum(groups)
