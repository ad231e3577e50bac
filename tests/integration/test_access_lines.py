"""The log line of a request to web, and the id that joins it to the deliveries of what was handed over."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from config.logs import logging_config
from notifier.models import NotificationTask
from tests.support.api import caller, document, notification
from tests.support.factories import make_partner

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the process writes about requests, as JSON, from the formatter of the settings."""
    configured = logging_config("json", "INFO")["formatters"]["line"]
    formatter = configured.pop("()")(**configured)
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Kept()
    handler.setFormatter(formatter)
    logger = logging.getLogger("notifier.access")
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in written]
    logger.removeHandler(handler)


def test_a_request_is_one_line_with_its_id_which_the_notification_keeps(lines: Any) -> None:
    headers = {"X-Request-ID": "order-4711"}

    document(caller().notify(notification(make_partner()), headers=headers), 202)

    (line,) = lines()
    assert NotificationTask.objects.get().request_id == "order-4711"
    assert line.pop("duration_ms") > 0
    assert line.pop("timestamp")
    assert line == {
        "event": "request", "level": "info", "logger": "notifier.access", "request_id": "order-4711", "method": "POST",
        "path": "/v1/notify", "status": 202,
    }  # fmt: skip


def test_what_a_caller_looks_for_is_in_no_line(lines: Any) -> None:
    caller().get("/v1/notify?metadata.card=4111111111111111")

    assert [line["path"] for line in lines()] == ["/v1/notify"]
    assert "4111" not in json.dumps(lines())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_machines_ask_every_few_seconds_has_no_line(lines: Any, path: str) -> None:
    caller().get(path)

    assert lines() == []


def test_lines_can_be_turned_off(lines: Any, settings: Any) -> None:
    settings.NOTIFIER_LOG_ACCESS = False

    caller().get("/v1/notify")

    assert lines() == []


def test_of_a_record_only_what_is_ours_gets_into_a_line(lines: Any) -> None:
    logging.getLogger("notifier.access").warning("odd", extra={"request": "canary-4711", "task_id": "t"})

    assert "canary" not in json.dumps(lines())
    assert lines()[0]["task_id"] == "t"
