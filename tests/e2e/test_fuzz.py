"""A small seeded run of ``make fuzz``: requests made from the OpenAPI document, each answer held to it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fuzz.run import answered, fuzz, prepare
from tests.support.system import FullSystem


def test_every_answer_to_generated_requests_is_as_documented(tmp_path: Path) -> None:
    system = FullSystem(tmp_path, os.environ["DATABASE_URL"], NOTIFIER_ACCEPT_RATE_PER_SECOND=1_000_000)
    try:
        done = fuzz(system, prepare(system), examples=5, seed=7)
        statuses, log = answered(system), system.log("web")
    finally:
        system.stop()
        system.valkey.stop()

    assert done.returncode == 0, done.stdout + done.stderr
    assert [status for status in statuses if status.startswith("5")] == []
    assert "unexpected error" not in log
    # Not only refusals: notifications were accepted, read, and acted on.
    assert min(statuses[status] for status in ("200", "202", "400", "404", "409")) > 0, statuses
