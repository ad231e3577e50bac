"""A worker that could not work is refused with a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.ledger import REPOSITORY


def _worker(*options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "config.celery", "worker", *options],
        cwd=REPOSITORY, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_another_pool_is_refused() -> None:
    # --pool prefork is Celery's own default, which it takes for "not given": the setting (threads) wins.
    done = _worker("--pool", "solo")

    assert done.returncode != 0
    assert "The solo pool cannot carry the dispatcher" in done.stderr
    assert "--pool threads" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lease_shorter_than_the_longest_request_is_refused() -> None:
    done = _worker(NOTIFIER_LEASE_SECONDS="10", NOTIFIER_MAX_TIMEOUT_SECONDS="9")

    assert done.returncode != 0
    assert "NOTIFIER_LEASE_SECONDS=10 is shorter than the longest request" in done.stderr
    assert "at least NOTIFIER_MAX_TIMEOUT_SECONDS + 2 = 11" in done.stderr
    assert "Traceback" not in done.stderr
