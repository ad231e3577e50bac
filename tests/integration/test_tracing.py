"""accept → wake → claim → send in one trace, which goes on from the producer's and ends at the partner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deliveries.sending import outgoing
from deliveries.traced import finished, traced
from notifier import clock
from notifier.models import NotificationTask
from notifier.tracing import tracing
from notifier.wake import Publisher
from tests.support.api import caller, document, notification
from tests.support.factories import make_partner
from tests.support.ledger import REPOSITORY
from tests.support.stations import OK, Stations
from tests.support.waiting import wait_until

PRODUCER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, PRODUCERS_SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    found = InMemorySpanExporter()
    tracing.start(found, service="tests", at_once=True)
    yield found
    tracing.stop()


def _spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def _parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return int(span.parent.span_id)


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


@pytest.mark.django_db(transaction=True)
def test_a_notification_is_one_trace_from_its_producer_to_the_partner(exporter: InMemorySpanExporter) -> None:
    partner, stations = make_partner(), Stations()

    answer = caller().notify(notification(partner), headers={"Traceparent": PRODUCER})
    (sending,) = stations.turn(partner)
    sent = traced(sending, now=clock.read())
    seen_by_partner = outgoing(sent, now=clock.read()).request.headers["Traceparent"]
    finished(sent, OK)

    spans = _spans(exporter)
    task_id = document(answer, 202)["task_id"]
    assert {span.context.trace_id for span in spans.values() if span.context} == {TRACE}
    assert _parent(spans["accept"]) == PRODUCERS_SPAN
    assert _parent(spans["claim"]) == _id(spans["accept"])
    assert _parent(spans["send"]) == _id(spans["claim"])
    assert seen_by_partner == f"00-{TRACE:032x}-{_id(spans['send']):016x}-01"
    assert spans["send"].attributes == {
        "notifier.task_id": task_id, "notifier.partner_id": partner.partner_id, "notifier.attempt_no": 1,
        "http.request.method": "POST", "http.response.status_code": 200,
    }  # fmt: skip


def test_a_wake_is_in_the_trace_of_what_it_is_for(exporter: InMemorySpanExporter) -> None:
    sent: list[list[str]] = []
    publisher = Publisher(sent.append)

    with tracing.accepting(PRODUCER):
        publisher.wake(["acme"])
    wait_until(lambda: "wake" in _spans(exporter), seconds=5, what="the wake's span")

    spans = _spans(exporter)
    assert sent == [["acme"]]
    assert _parent(spans["wake"]) == _id(spans["accept"])


@pytest.mark.django_db
def test_without_a_producers_trace_the_notification_begins_one(exporter: InMemorySpanExporter) -> None:
    document(caller().notify(notification(make_partner())), 202)

    span = _spans(exporter)["accept"]
    assert span.parent is None
    assert span.context is not None
    stored = NotificationTask.objects.get().traceparent
    assert (stored or "")[:-2] == f"00-{span.context.trace_id:032x}-{_id(span):016x}-"


@pytest.mark.django_db
def test_without_an_exporter_the_producers_trace_is_stored_as_it_came() -> None:
    assert not tracing.on

    document(caller().notify(notification(make_partner()), headers={"Traceparent": PRODUCER}), 202)

    assert NotificationTask.objects.get().traceparent == PRODUCER


def test_without_an_exporter_no_tracer_is_loaded() -> None:
    # Of OpenTelemetry the broker's client loads what it may count by, wherever that is installed.
    program = (
        "import config.wsgi, deliveries.bootstep, sys; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))])"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {program}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert loaded.stdout.strip() == "[]"
