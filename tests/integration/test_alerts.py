"""deploy/prometheus/alerts.yml: each metric that it names is scraped, and each rule has its section of the runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from notifier import transactions

REPOSITORY = Path(__file__).resolve().parents[2]
ALERTS = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
_METRIC = re.compile(r"\bnotifier_\w+")


def _runbook() -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", (REPOSITORY / "docs/operations.md").read_text())
    return {f"docs/operations.md#{heading.lower().replace(' ', '-')}" for heading in headings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_whole_and_has_its_section_in_the_runbook(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["runbook"] in _runbook()


@pytest.mark.django_db
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_metric_of_a_rule_is_in_a_scrape(rule: dict[str, Any], client: Client) -> None:
    transactions.conflicts.labels("deadlock")  # there from the first one on
    scraped = {
        re.split(r"[ {]", line)[0]
        for line in client.get("/metrics").content.decode().splitlines()
        if not line.startswith("#")
    }

    names = set(_METRIC.findall(rule["expr"]))

    assert names
    assert names <= scraped


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
