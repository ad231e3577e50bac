"""The log line of a request to web, and the id that joins it to the deliveries of what was handed over."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from config.lines import Lines
from config.logs import logging_config
from notifier.models import NotificationTask
from tests.support.api import caller, document, notification
from tests.support.factories import make_partner

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], settings: Any) -> Callable[[], list[dict[str, Any]]]:
    """What the process has written about requests."""
    settings.NOTIFIER_LOG_FORMAT = "json"

    def written() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
        return [line for line in found if line["logger"] == "notifier.access"]

    return written


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

    (line,) = lines()
    assert line["path"] == "/v1/notify"
    assert "4111" not in json.dumps(line)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_machines_ask_every_few_seconds_has_no_line(lines: Any, path: str) -> None:
    caller().get(path)

    assert lines() == []


def test_lines_can_be_turned_off(lines: Any, settings: Any) -> None:
    settings.NOTIFIER_LOG_ACCESS = False

    caller().get("/v1/notify")

    assert lines() == []


def test_with_a_higher_level_there_are_none(lines: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="notifier.access")

    caller().get("/v1/notify")

    assert lines() == []


def test_of_a_record_only_what_is_ours_gets_into_a_line() -> None:
    configured = logging_config("json", "INFO")["formatters"]["line"]
    formatter = configured.pop("()")(**configured)
    record = logging.makeLogRecord({"msg": "odd", "name": "notifier", "request": "canary-4711", "task_id": "t"})

    line = formatter.format(record)

    assert "canary" not in line
    assert json.loads(line)["task_id"] == "t"


def test_a_line_is_written_whatever_is_in_it(settings: Any) -> None:
    settings.NOTIFIER_LOG_FORMAT = "json"
    written: list[str] = []

    Lines("notifier.access", "request", write=written.append).write([{"path": "/\ud800"}, {"path": object}])

    half, strange = (json.loads(line) for line in written[0].splitlines())
    assert half["path"] == "/\ud800"
    assert "object" in strange["path"]
