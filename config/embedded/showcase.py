"""The first start's show: sends the samples through the API and follows them until each has ended or waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from config.embedded.client import Client
from config.embedded.environment import PARTNER_ID
from config.embedded.processes import pause
from config.embedded.samples import SHOWCASE, request, samples
from config.embedded.table import Row, Table

FOLLOW_SECONDS = 60.0
POLL_SECONDS = 0.2
# A retry that is due sooner than this is waited for, so that a partner that recovers is seen to.
NEAR_RETRY_SECONDS = 5.0


class CutShort(Exception):
    """The show cannot go on; the run can."""


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def send(client: Client, simulator: str) -> list[tuple[str, str]]:
    """Send every sample; returns (task id, title) in their order. Raises ``CutShort`` where one is not accepted."""
    sent: dict[str, str] = {}
    for sample in samples(_now()):
        for _ in range(sample.times_sent):
            status, answer = client.call("POST", "/v1/notify", request(sample, simulator))
            if status not in (200, 202):
                reason = answer.get("message") if isinstance(answer, dict) else None
                raise CutShort(f"the sample {sample.title!r} was not accepted: {status} {reason}")
            sent[answer["task_id"]] = sample.title
    return list(sent.items())


def follow(client: Client, sent: list[tuple[str, str]], table: Table, watch: Callable[[], None]) -> bool:
    """Show the samples until all are settled; False where some are not after ``FOLLOW_SECONDS``. Raises ``CutShort``."""
    deadline = time.monotonic() + FOLLOW_SECONDS
    while True:
        watch()
        status, page = client.call("GET", f"/v1/notify?partner_id={PARTNER_ID}&metadata.showcase={SHOWCASE}&limit=200")
        if status != 200:
            raise CutShort(f"the list of notifications answers {status}")
        tasks = {task["task_id"]: task for task in page["results"]}
        table.show([_row(title, tasks[task_id]) for task_id, title in sent])
        if all(_settled(tasks[task_id]) for task_id, _ in sent):
            return True
        if time.monotonic() >= deadline:
            return False
        pause(POLL_SECONDS)


def _due_in(task: dict[str, Any]) -> float | None:
    at = task["next_attempt_at"]
    return None if at is None else (datetime.fromisoformat(at) - _now()).total_seconds()


def _settled(task: dict[str, Any]) -> bool:
    if task["status"] in ("succeeded", "dead"):
        return True
    return task["status"] == "failed" and (_due_in(task) or 0) > NEAR_RETRY_SECONDS


def _row(title: str, task: dict[str, Any]) -> Row:
    reason = f" ({task['dead_reason']})" if task["dead_reason"] else ""
    return Row(
        title=title,
        status=task["status"],
        reason=reason,
        attempts=f"{task['attempt_count']}/{task['max_attempts']}",
        answer=_answer(task["last_attempt"]),
        due_in_seconds=_due_in(task),
    )


def _answer(attempt: dict[str, Any] | None) -> str:
    if attempt is None:
        return ""
    what = attempt["http_status_code"] if attempt["http_status_code"] is not None else attempt["error_code"]
    latency = attempt["latency_ms"]
    return f"{what}" if latency is None else f"{what}, {latency:.0f} ms"
