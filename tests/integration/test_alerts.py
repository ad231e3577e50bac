"""deploy/prometheus/alerts.yml: each rule has its section of the runbook. tests/e2e/test_metrics.py scrapes what it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ALERTS = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]


def _runbook() -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", (REPOSITORY / "docs/operations.md").read_text())
    return {f"docs/operations.md#{heading.lower().replace(' ', '-')}" for heading in headings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_whole_and_has_its_section_in_the_runbook(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["runbook"] in _runbook()


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_every_rule_that_is_documented_is_there() -> None:
    alerts = (REPOSITORY / "docs/operations.md").read_text().partition("### Alerts")[2]

    assert set(re.findall(r"(?m)^#### (Notifier\w+)$", alerts)) == {rule["alert"] for rule in RULES}
