"""Whole systems for the end-to-end tests; no Django in this process, only HTTP and the partner's own ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ledger import PartnerSimulator
from tests.support.system import FullSystem, System

# Short, so that a killed worker's leases and a retry's backoff end within a test's patience.
# Figures as they are at the scrape.
QUICK = {"NOTIFIER_LEASE_SECONDS": 6, "NOTIFIER_MAX_TIMEOUT_SECONDS": 3, "NOTIFIER_METRICS_SECONDS": 0}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture
def partner(folder: Path) -> Iterator[PartnerSimulator]:
    simulator = PartnerSimulator(folder)
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Web, worker and beat on a MariaDB database and a Valkey of their own; one system serves a module's tests."""
    running = FullSystem(tmp_path_factory.mktemp("system"), os.environ["DATABASE_URL"], **QUICK)
    try:
        running.start_all()
        yield running
    finally:
        running.stop()
