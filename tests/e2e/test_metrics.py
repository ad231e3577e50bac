"""The metrics of real processes: all that rules and dashboards name is there, and several web processes are one."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.ledger import REPOSITORY, PartnerSimulator
from tests.support.servers import free_port
from tests.support.system import FullSystem
from tests.support.waiting import wait_until

LOCAL = {"allow_hosts": ["127.0.0.1:*"], "allow_private_cidrs": ["127.0.0.0/8"]}
# Prometheus makes this one itself.
_OURS = re.compile(r"\b(?:notifier|django|process)_\w+")


def _lines(port: int) -> list[str]:
    """A scrape of the port, without comments; empty where nobody answers yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    except (urllib.error.URLError, ConnectionError):
        return []


def _figures(port: int) -> dict[str, float]:
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in _lines(port))}


class Watched(FullSystem):
    """Web with two granian workers; worker and beat with metrics ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.ports = {"worker": free_port(), "beat": free_port()}
        counters = folder / "counters"
        counters.mkdir()
        super().__init__(
            folder,
            os.environ["DATABASE_URL"],
            NOTIFIER_METRICS_SECONDS=0,
            NOTIFIER_LOG_FORMAT="json",
            **{f"NOTIFIER_{name.upper()}_METRICS_PORT": port for name, port in self.ports.items()},
        )
        self.ports["web"] = self.port
        self._counters = counters

    def start_web(self) -> None:
        # Of web's environment alone.
        self.environment["PROMETHEUS_MULTIPROC_DIR"] = str(self._counters)
        self.start(
            "web", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "2", "--blocking-threads", "2", "--no-ws", "config.wsgi:application",
        )  # fmt: skip
        wait_until(self._answers, seconds=30, what=f"web to answer (see {self.folder}/web.log)")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    system = Watched(tmp_path_factory.mktemp("watched"))
    try:
        system.start_all()
        system.apply_partners(acme=LOCAL, globex=LOCAL)
        yield system
    finally:
        system.stop()


@pytest.fixture
def delivered(watched: Watched, partner: PartnerSimulator) -> Watched:
    """One of each kind of end has been."""
    for path, status in (("/ok", "succeeded"), ("/status/422", "dead"), ("/status/503", "failed")):
        task_id = watched.client.notify(partner_id="acme", target_url=partner.url(path))
        wait_until(lambda: watched.client.task(task_id)["status"] == status, seconds=20, what=f"{path} to be {status}")  # noqa: B023
    wait_until(lambda: _lines(watched.ports["beat"]), seconds=20, what="beat's metrics")
    return watched


def _named_in_rules() -> set[str]:
    rules = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
    return {name for group in rules["groups"] for rule in group["rules"] for name in _OURS.findall(rule["expr"])}


def _named_in_dashboards() -> set[str]:
    files = list((REPOSITORY / "deploy/grafana/dashboards").glob("*.json"))
    dashboards: list[dict[str, Any]] = [json.loads(file.read_text()) for file in files]
    assert dashboards
    targets = [target for board in dashboards for panel in board["panels"] for target in panel["targets"]]
    return {name for target in targets for name in _OURS.findall(target["expr"])}


def _documented() -> set[str]:
    return set(re.findall(r"(?m)^\| `(notifier_\w+)`", (REPOSITORY / "docs/metrics.md").read_text()))


def test_what_rules_dashboards_and_the_documentation_name_is_in_a_scrape(delivered: Watched) -> None:
    scraped = {re.split(r"[ {]", line)[0] for port in delivered.ports.values() for line in _lines(port)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in scraped}

    assert _named_in_rules() - scraped == set()
    assert _named_in_dashboards() - scraped == set()
    assert _documented() - families - scraped == set()
    assert {
        name for name in families if name.startswith("notifier_") and not name.endswith("_created")
    } == _documented()


def test_several_web_processes_count_as_one(delivered: Watched) -> None:
    name = 'notifier_key_requests_total{key="tests",result="admitted"}'
    before = _figures(delivered.port)[name]

    for _ in range(40):
        delivered.client.close()  # so that another connection may reach the other process
        delivered.client.notify(partner_id="globex", target_url="http://127.0.0.1:9/")

    assert {_figures(delivered.port)[name] for _ in range(5)} == {before + 40}


def test_a_delivery_is_one_line_of_the_workers_log_with_the_posts_id(
    watched: Watched, partner: PartnerSimulator
) -> None:
    task_id = watched.client.notify(partner_id="acme", target_url=partner.url("/ok?card=4111"))

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in watched.log("worker").splitlines() if task_id in line]

    (line,) = wait_until(lines, seconds=20, what="the delivery's line")
    posts = [json.loads(post) for post in watched.log("web").splitlines() if post.startswith("{")]
    assert (line["event"], line["status"], line["http_status_code"], line["partner_id"]) == (
        "delivery", "succeeded", 200, "acme",
    )  # fmt: skip
    assert line["request_id"] in {post["request_id"] for post in posts if post["path"] == "/v1/notify"}
    assert "4111" not in watched.log("worker") + watched.log("web")


def test_a_metrics_port_that_is_taken_stops_no_delivery(watched: Watched, partner: PartnerSimulator) -> None:
    watched.start_worker("worker-2")

    wait_until(lambda: "no metrics: 127.0.0.1" in watched.log("worker-2"), seconds=30, what="the second worker's line")
    task_id = watched.client.notify(partner_id="acme", target_url=partner.url("/ok"))
    wait_until(lambda: watched.client.task(task_id)["status"] == "succeeded", seconds=20, what="the delivery")
    assert watched.processes["worker-2"].poll() is None
