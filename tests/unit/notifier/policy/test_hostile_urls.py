"""Spellings that are passed around for getting at what is inside: each is refused, or judged by the host that is asked."""

from __future__ import annotations

import ast
from ipaddress import ip_address
from pathlib import Path

import pytest

from notifier.policy import allow_list
from notifier.policy.addresses import forbidden_address
from notifier.policy.destination import TargetError, target

_FOLDER = Path(__file__).parent / "hostile"


def _lines(file: str) -> list[str]:
    lines = (_FOLDER / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _unescaped(text: str) -> str:
    quoted = text.replace('"', '\\"')
    return str(ast.literal_eval(f'"{quoted}"'))


REFUSED = _lines("refused.txt")
CANONICAL = [tuple(line.split("\t")) for line in _lines("canonical.tsv")]


@pytest.mark.parametrize("line", REFUSED)
def test_a_hostile_spelling_is_refused(line: str) -> None:
    with pytest.raises(TargetError) as refused:
        target(_unescaped(line))

    assert str(refused.value).startswith("it")


@pytest.mark.parametrize(("line", "host"), CANONICAL)
def test_what_is_not_refused_has_one_form_and_is_judged_by_it(line: str, host: str) -> None:
    where = target(_unescaped(line))

    assert where.host == host
    assert target(where.url) == where
    # Only the host counts, wherever else a trusted name stands.
    assert allow_list.allowed(where, ["trusted.example"]) is (host == "trusted.example")
    assert not allow_list.allowed(where, ["*.trusted.example"])
    if where.address is not None:
        assert forbidden_address(ip_address(host)) is not None


def test_the_lists_are_long() -> None:
    assert len(REFUSED) > 250
    assert len(set(REFUSED)) == len(REFUSED)
