"""docs/settings.md lists exactly the variables that the settings read, with their defaults and bounds."""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

REPOSITORY = Path(__file__).resolve().parents[2]
# | `NAME` | default | what it is | values |
_ROW = re.compile(r"(?m)^\| `([A-Z][A-Z_]+)` \| (.+?) \| (.+?) \| (.+?) \|$")
_BOUNDS = re.compile(r"`([\d.]+)` to `([\d.]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    default: str
    values: str


DOCUMENTED = {
    name: Row(default, values)
    for name, default, _, values in _ROW.findall((REPOSITORY / "docs" / "settings.md").read_text())
}
BOUNDED = {name: match.groups() for name, row in DOCUMENTED.items() if (match := _BOUNDS.fullmatch(row.values))}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any of the variables, but for the one that is required."""
    for name in DOCUMENTED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NOTIFIER_SECRET_KEY", "x" * 50)
    return monkeypatch


def read_settings() -> dict[str, Any]:
    """Read the settings as a new process does; every name in them."""
    return runpy.run_path(str(REPOSITORY / "config" / "settings.py"))


def _shown(default: object) -> str:
    """A default as the table shows it."""
    match default:
        case "(required)":
            return "required"
        case "":
            return "empty"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:g}`"
        case Path():
            return f"`{default.relative_to(REPOSITORY)}`"
        case str() if " " in default:
            return default
        case _:
            return f"`{default}`"


def test_every_variable_that_is_read_is_documented_and_the_other_way_round(variables: pytest.MonkeyPatch) -> None:
    assert set(DOCUMENTED) == set(read_settings()["env"].names)


def test_defaults_are_the_documented_ones(variables: pytest.MonkeyPatch) -> None:
    names = read_settings()["env"].names

    # What follows in brackets says where the default is another.
    documented = {name: row.default.partition(" (")[0] for name, row in DOCUMENTED.items()}
    assert documented == {name: _shown(default) for name, default in names.items()}


def test_every_number_has_documented_bounds(variables: pytest.MonkeyPatch) -> None:
    names = read_settings()["env"].names

    numbers = {name for name, default in names.items() if type(default) in (int, float)}
    assert set(BOUNDED) == numbers


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_the_documented_ones(variables: pytest.MonkeyPatch, name: str) -> None:
    low, high = BOUNDED[name]

    for accepted in (low, high):
        variables.setenv(name, accepted)
        assert read_settings()[name] == float(accepted)
    step = 1 if isinstance(read_settings()[name], int) else 0.001
    for refused in (float(low) - step, float(high) + step):
        variables.setenv(name, f"{refused:.3f}" if step < 1 else f"{refused:.0f}")
        with pytest.raises(ImproperlyConfigured, match=f"^{name}=.* is not between {low} and {high}( seconds)?\\.$"):
            read_settings()


def test_choices_are_the_documented_ones(variables: pytest.MonkeyPatch) -> None:
    choices = re.findall(r"`(\w+)`", DOCUMENTED["NOTIFIER_LOG_LEVEL"].values)

    for choice in choices:
        variables.setenv("NOTIFIER_LOG_LEVEL", choice)
        assert read_settings()["NOTIFIER_LOG_LEVEL"] == choice
    variables.setenv("NOTIFIER_LOG_LEVEL", "CRITICAL")
    with pytest.raises(ImproperlyConfigured, match=f"is not one of {', '.join(choices)}\\.$"):
        read_settings()


def test_defaults_of_the_embedded_run_are_the_documented_ones(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("NOTIFIER_EMBEDDED", "true")

    names = read_settings()["env"].names

    in_brackets = {name: re.search(r"\((`.+`) in the embedded run\)", row.default) for name, row in DOCUMENTED.items()}
    documented = {name: match[1] for name, match in in_brackets.items() if match}
    assert set(documented) == {"NOTIFIER_TLS", "NOTIFIER_DEMO_API_KEY"}
    assert documented == {name: _shown(names[name]) for name in documented}


def test_what_make_alone_reads_is_read_there_and_nowhere_in_the_settings(variables: pytest.MonkeyPatch) -> None:
    section = (REPOSITORY / "docs" / "settings.md").read_text().partition("## Read by `make` alone")[2]
    listed = set(re.findall(r"(?m)^\| ([A-Z_]+) \|", section))

    sources = [*(REPOSITORY / "config" / "embedded").glob("*.py"), *(REPOSITORY / "scripts").glob("*.sh")]
    text = "".join(source.read_text() for source in sources)
    assert listed == {"PORT", "NOTIFIER_DEMO_ADMIN_PASSWORD", "VENV", "PYTHON"}
    assert {name for name in listed if not re.search(rf"\b{name}\b", text)} == set()
    assert listed & set(read_settings()["env"].names) == set()
