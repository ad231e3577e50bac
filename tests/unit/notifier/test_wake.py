from __future__ import annotations

import logging
import threading

import pytest

from notifier.wake import LONGEST_REST_SECONDS, MESSAGE_PARTNERS, Publisher, rest_seconds, shown
from tests.support.waiting import wait_until


class Broker:
    """Takes messages, or refuses them while it is away."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.calls = 0
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def send(self, partner_ids: list[str]) -> None:
        self.calls += 1
        self.gate.wait(10)
        if self.away:
            raise ConnectionError("gone")
        self.messages.append(partner_ids)


def test_a_wake_is_published() -> None:
    broker = Broker()

    Publisher(broker.send).wake(["b", "a"])

    wait_until(lambda: broker.messages == [["a", "b"]], seconds=5, what="the message")


def test_wakes_that_come_while_one_is_published_become_one_message() -> None:
    broker = Broker()
    broker.gate.clear()
    publisher = Publisher(broker.send)
    publisher.wake(["first"])
    wait_until(lambda: broker.calls == 1, seconds=5, what="the first message to be under way")

    for _ in range(100):
        publisher.wake(["b"])
        publisher.wake(["a"])
    broker.gate.set()

    wait_until(lambda: len(broker.messages) == 2, seconds=5, what="both messages")
    assert broker.messages == [["first"], ["a", "b"]]


def test_many_partners_are_split_over_messages() -> None:
    broker = Broker()
    names = [f"p{number:05}" for number in range(2 * MESSAGE_PARTNERS + 1)]

    Publisher(broker.send).wake(names)

    wait_until(lambda: len(broker.messages) == 3, seconds=5, what="three messages")
    assert [len(message) for message in broker.messages] == [MESSAGE_PARTNERS, MESSAGE_PARTNERS, 1]
    assert sorted(name for message in broker.messages for name in message) == names


def test_a_lost_broker_is_asked_once_and_logged_once_and_then_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    broker.away = True
    publisher = Publisher(broker.send, pause_seconds=60)

    with caplog.at_level(logging.WARNING, "notifier.wake"):
        publisher.wake(["a"])
        wait_until(lambda: caplog.records, seconds=5, what="the log line")
        for _ in range(50):
            publisher.wake(["b"])

    assert (broker.calls, len(caplog.records)) == (1, 1)
    assert "ConnectionError" in caplog.records[0].message


def test_wakes_go_out_again_when_the_broker_is_back(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    broker.away = True
    publisher = Publisher(broker.send, pause_seconds=0)
    with caplog.at_level(logging.INFO, "notifier.wake"):
        publisher.wake(["lost"])
        wait_until(lambda: broker.calls == 1, seconds=5, what="the failure")
        broker.away = False

        def woken() -> bool:
            publisher.wake(["found"])
            return bool(broker.messages)

        wait_until(woken, seconds=5, what="a message")

    # What was lost stays lost: the sweep finds its partner.
    assert broker.messages[0] == ["found"]
    assert caplog.records[-1].message == "wakes are published again"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        pytest.param(1, "partner-0", id="one"),
        pytest.param(5, "partner-0, partner-1, partner-2, partner-3, partner-4", id="as many as are named"),
        pytest.param(7, "partner-0, partner-1, partner-2, partner-3, partner-4 and 2 more", id="more"),
    ],
)
def test_a_message_is_shown_to_people_by_its_partners(count: int, text: str) -> None:
    assert shown([f"partner-{number}" for number in range(count)]) == text


@pytest.mark.parametrize(
    ("partners", "took", "rest"),
    [
        pytest.param(1, 0.001, 0.001, id="one, on an idle machine"),
        pytest.param(1, 0.008, 0.008, id="one, on a busy one"),
        pytest.param(6, 0.005, 0.010, id="several"),
        pytest.param(500, 0.005, 0.020, id="many"),
        pytest.param(500, 0.500, LONGEST_REST_SECONDS, id="many, to a broker that hangs"),
    ],
)
def test_the_rest_is_longer_after_a_message_that_took_long_for_several(partners: int, took: float, rest: float) -> None:
    assert rest_seconds(partners, took) == pytest.approx(rest)
