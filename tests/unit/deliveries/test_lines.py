"""The log line of a delivery."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from deliveries.lines import DeliveryLines
from notifier.models import AttemptStatus
from notifier.policy.exchange import Exchange, FailureKind, Timing
from notifier.policy.retry import RetryAt, Succeeded
from tests.unit.deliveries.records import NOW, result, sending

TRACE = "0af7651916cd43dd8448eb211c80319c"
OK = result(Exchange(status=200, timing=Timing(total_ms=12.34)), Succeeded())
LOST = result(Exchange(failure=FailureKind.TIMEOUT), RetryAt(NOW), error_code="timeout")


def _lines(*results: Any, **claim: Any) -> list[dict[str, Any]]:
    written: list[str] = []
    DeliveryLines(write=written.append).recorded([sending(**claim) for _ in results], list(results))
    return [json.loads(line) for line in "".join(written).splitlines()]


def test_a_delivery_is_one_line_with_what_it_is_found_by(settings: Any) -> None:
    settings.NOTIFIER_LOG_FORMAT = "json"
    task_id = uuid.uuid4()

    (line,) = _lines(OK, task_id=task_id, request_id="req-1", traceparent=f"00-{TRACE}-b7ad6b7169203331-01")

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "delivery", "level": "info", "logger": "deliveries", "task_id": str(task_id), "partner_id": "acme",
        "attempt_no": 1, "status": AttemptStatus.SUCCEEDED.value, "http_status_code": 200, "error_code": None,
        "latency_ms": 12.3, "request_id": "req-1", "trace_id": TRACE,
    }  # fmt: skip


def test_nothing_of_the_request_or_the_answer_is_in_it(settings: Any) -> None:
    settings.NOTIFIER_LOG_FORMAT = "json"
    secret = "canary-4711"
    written: list[str] = []
    answer = Exchange(status=200, headers=(("X-Echo", secret),), body=secret.encode())

    DeliveryLines(write=written.append).recorded(
        [
            sending(
                headers={"Authorization": secret}, body=secret.encode(), target_url=f"https://acme.example/in?{secret}"
            )
        ],
        [result(answer, Succeeded(), response_body=secret, response_headers=[["X-Echo", secret]])],
    )

    assert len(written) == 1
    assert secret not in written[0]


@pytest.mark.parametrize(
    ("wanted", "sample", "codes"),
    [
        pytest.param("all", 1, [None, None, None, None, "timeout"], id="all"),
        pytest.param("all", 2, [None, None, "timeout"], id="one success in two, and what failed"),
        pytest.param("failed", 1, ["timeout"], id="failed"),
        pytest.param("none", 1, [], id="none"),
    ],
)
def test_as_many_lines_as_are_asked_for(settings: Any, wanted: str, sample: int, codes: list[str | None]) -> None:
    settings.NOTIFIER_LOG_FORMAT = "json"
    settings.NOTIFIER_LOG_DELIVERIES, settings.NOTIFIER_LOG_DELIVERIES_SAMPLE = wanted, sample

    assert [line["error_code"] for line in _lines(OK, OK, OK, OK, LOST)] == codes


def test_for_people_it_is_readable(settings: Any) -> None:
    settings.NOTIFIER_LOG_FORMAT = "text"
    written: list[str] = []

    DeliveryLines(write=written.append).recorded([sending()], [OK])

    assert "delivery" in written[0]
    assert "partner_id=acme" in written[0]


def test_a_standard_error_that_is_gone_stops_no_delivery() -> None:
    def closed(text: str) -> None:
        raise ValueError("I/O operation on closed file")

    DeliveryLines(write=closed).recorded([sending()], [OK])
