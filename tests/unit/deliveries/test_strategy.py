"""How a worker takes a dispatch message: at once, or by Celery's own way while somebody watches its tasks."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from config.celery import app
from deliveries import bootstep
from deliveries.dispatcher import Dispatcher
from deliveries.woken import Lane, Woken
from notifier.wake import DISPATCH_TASK


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> Woken:
    """Who has a turn in the process's dispatcher, which is not started."""
    dispatcher = Dispatcher()
    monkeypatch.setattr(bootstep, "_dispatcher", dispatcher)
    return dispatcher._woken


def _waiting(woken: Woken) -> list[str]:
    return list(woken.take(Lane.BEHIND, 10, most_rows=10, timeout=0))


def _consumer(*, enabled: bool, groups: set[str] | None) -> Any:
    """Celery's, of which its own strategy takes a dozen parts."""
    consumer = MagicMock()
    consumer.event_dispatcher.enabled, consumer.event_dispatcher.groups = enabled, groups
    return consumer


def _take(consumer: Any, payload: Any) -> list[Any]:
    """Give it the message; what Celery's own way made of it."""
    import deliveries.tasks  # noqa: F401, PLC0415 - the task must be there, and needs Django's apps

    handle = app.tasks[DISPATCH_TASK].start_strategy(app, consumer)
    message = MagicMock(payload=payload, headers={"id": "1", "task": DISPATCH_TASK, "lang": "py"})
    message.properties, message.delivery_info = {}, {}
    handle(message, None, MagicMock(), MagicMock(), [])
    return list(consumer.on_task_request.call_args_list)


@pytest.mark.parametrize(("enabled", "groups"), [(False, None), (True, {"worker"})], ids=["no events", "heartbeats"])
def test_a_wake_reaches_the_dispatcher_at_once(woken: Woken, enabled: bool, groups: set[str] | None) -> None:
    assert _take(_consumer(enabled=enabled, groups=groups), [[["a", "b"]], {}, {}]) == []

    assert _waiting(woken) == ["a", "b"]


@pytest.mark.parametrize("groups", [None, set(), {"worker", "task"}], ids=str)
def test_while_its_tasks_are_watched_it_is_one(woken: Woken, groups: set[str] | None) -> None:
    (request,) = _take(_consumer(enabled=True, groups=groups), [[["a"]], {}, {}])

    assert request.args[0].name == DISPATCH_TASK
    assert _waiting(woken) == []


@pytest.mark.parametrize(
    "payload", [[[], {}, {}], [["a"], {}, {}], [[["a", 1]], {}, {}], [[["a"]], {"x": 1}, {}]], ids=str
)
def test_what_is_no_wake_is_for_celery_to_refuse(woken: Woken, payload: Any) -> None:
    assert len(_take(_consumer(enabled=False, groups=None), payload)) == 1

    assert _waiting(woken) == []
