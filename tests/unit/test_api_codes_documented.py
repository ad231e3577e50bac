"""docs/api.md lists exactly the error codes that the API can answer, each with its status."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from rest_framework.exceptions import ErrorDetail

from notifier.api import errors, fields, list_query, parsers
from notifier.policy.exchange import FailureKind

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "api.md").read_text()
# The arguments that say the code, by what is called.
CALLS = {"Problem": (0, 1), "Refused": (None, 0), "Refusal": (None, 0), "_malformed": (None, 1)}
# What intake refuses, the view answers with 422; what cannot be parsed, the parser with 400.
STATUS_OF = {"Refused": 422, "Refusal": 422, "_malformed": 400}
# Where the code is no literal. Each is accounted for in ``answered``; a new one must be too.
COMPUTED = {
    "intake.py: Refused(422, refusal.code)",  # Refusal's
    "errors.py: Problem(400, code)",  # from_fields
    "errors.py: Problem(status, code)",  # the table of the framework's exceptions
    "parsers.py: Problem(400, code)",  # _malformed's
    "errors.py: Problem(422, refused.code)",  # from_refused
}


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node


def _sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((REPOSITORY / "notifier").rglob("*.py")):
        yield path, ast.parse(path.read_text())


def _raised() -> tuple[set[tuple[int, str]], set[str]]:
    """(status, code) of every call with literals, and the other calls as text."""
    literal: set[tuple[int, str]] = set()
    computed: set[str] = set()
    for path, tree in _sources():
        for name, call in _calls(tree):
            if name not in CALLS:
                continue
            status_at, code_at = CALLS[name]
            if len(call.args) <= code_at:
                continue  # _malformed's default
            status = ast.Constant(STATUS_OF[name]) if status_at is None else call.args[status_at]
            code = call.args[code_at]
            if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                literal.add((status.value, code.value))  # type: ignore[arg-type]  # a test fails where they are not
            else:
                computed.add(f"{path.name}: {name}({ast.unparse(status)}, {ast.unparse(code)})")
    return literal, computed


def answered() -> set[tuple[int, str]]:
    """(status, code) of everything that the API can answer as a problem document."""
    literal, _ = _raised()
    framework = {(status, code) for _, status, code, _ in errors._FRAMEWORK}
    malformed = {(400, inspect.signature(parsers._malformed).parameters["code"].default)}
    from_fields = {
        (400, errors.from_fields({"field": [ErrorDetail("wrong", code)]}).code) for code in ("unknown_field", "invalid")
    }
    return literal | framework | malformed | from_fields


def _details() -> set[str]:
    """The codes that only details have."""
    codes = {"required", "null"}  # the framework's own, for every field
    for module in (fields, list_query):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, fields.StrictField):
                codes |= set(kind.default_error_messages)
    for _, tree in _sources():
        for name, call in _calls(tree):
            if name == "detail" and isinstance(code := call.args[1], ast.Constant):
                codes.add(str(code.value))
        codes |= {
            str(node.args[1].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "ErrorDetail"
            and isinstance(node.args[1], ast.Constant)
        }
    return codes - {code for _, code in answered()}


def test_every_code_that_is_not_a_literal_is_accounted_for() -> None:
    _, computed = _raised()

    assert computed == COMPUTED


def test_every_code_is_documented_with_its_status_and_the_other_way_round() -> None:
    documented = [(int(status), code) for code, status in re.findall(r"(?m)^\| `(\w+)` \| (\d{3}) \|", DOCUMENT)]

    assert set(documented) == answered()
    assert len(documented) == len(answered())
    assert [status for status, _ in documented] == sorted(status for status, _ in documented)


def test_codes_are_snake_case_and_have_one_status_each() -> None:
    codes = [code for _, code in answered()]

    assert len(codes) == len(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_every_code_of_a_detail_is_documented_and_the_other_way_round() -> None:
    table = DOCUMENT.partition("| Code of a detail | Meaning |")[2].partition("\n\n")[0]

    documented = {code for first in re.findall(r"(?m)^\| (`.+?`) \|", table) for code in re.findall(r"`(\w+)`", first)}
    assert documented == _details()


def test_every_error_code_of_an_attempt_is_documented_and_the_other_way_round() -> None:
    section = DOCUMENT.partition("### Error codes of attempts")[2].partition("\n## ")[0]

    documented = set(re.findall(r"(?m)^\| `(\w+)` \|", section)) - {"error_code"}
    assert documented == {kind.value for kind in FailureKind} | {"condition_not_met"}
