"""The rules as they are at each attempt: what is refused then is dead, and its history says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as live

from deliveries.dispatcher import Dispatcher
from notifier import listeners
from notifier.models import NotificationAttempt, NotificationTask, Partner, Status
from notifier.models.task import DeadReason
from tests.support.factories import make_partner, make_task
from tests.support.raw_server import OK, RawServer, answering
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def inside() -> Iterator[RawServer]:
    with RawServer(answering(OK)) as server:
        yield server


@pytest.fixture
def partner() -> Partner:
    return make_partner(allow_hosts=["127.0.0.1:*"], allow_private_cidrs=["127.0.0.0/8"])


@pytest.fixture(autouse=True)
def fresh_listeners() -> Iterator[None]:
    listeners.shared.cache_clear()
    yield
    listeners.shared.cache_clear()


def _end(task: NotificationTask) -> NotificationAttempt | None:
    """Deliver it in a dispatcher of its own, and give back its last attempt."""
    dispatcher = Dispatcher()
    dispatcher.start()
    dispatcher.wake([task.partner.partner_id])
    wait_until(lambda: NotificationTask.objects.filter(finished_at__isnull=False).exists(), seconds=20, what="its end")
    dispatcher.drain(10)
    task.refresh_from_db()
    return NotificationAttempt.objects.last()


def _assert_blocked(task: NotificationTask, attempt: NotificationAttempt | None, reason: str) -> None:
    assert attempt is not None
    assert (task.status, task.dead_reason) == (Status.DEAD, DeadReason.BLOCKED)
    assert attempt.error_code == "address_blocked"
    assert reason in (attempt.error_message or "")


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("127.0.0.1", "/"),
        ("https://127.0.0.1:*", "/"),
        ("127.0.0.1:*/in", "/out"),
        ("127.0.0.1:*/in", "/in/%2e%2e/out"),
    ],
)
def test_an_allow_list_that_has_changed_since_holds(partner: Partner, inside: RawServer, entry: str, path: str) -> None:
    task = make_task(partner, target_url=inside.url(path))
    partner.allow_hosts = [entry]
    partner.save()

    _assert_blocked(task, _end(task), "no entry of its allow_hosts names")
    assert inside.connections == 0


def test_the_deny_list_wins(partner: Partner, inside: RawServer, settings: Any) -> None:
    settings.NOTIFIER_DENY_HOSTS = ["127.0.0.1"]
    task = make_task(partner, target_url=inside.url())

    _assert_blocked(task, _end(task), "This installation denies 127.0.0.1")
    assert inside.connections == 0


def test_a_denied_range_wins(inside: RawServer, settings: Any) -> None:
    settings.NOTIFIER_DENY_CIDRS = ["127.0.0.0/8"]
    task = make_task(
        make_partner(allow_hosts=["localhost:*"], allow_private_cidrs=["127.0.0.0/8"]),
        target_url=inside.url(host="localhost"),
    )

    _assert_blocked(task, _end(task), "may not be connected to")
    assert inside.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.3.3.3"])
@pytest.mark.parametrize("which", ["database", "broker", "web"])
def test_no_partner_reaches_what_the_service_itself_listens_on(
    inside: RawServer, settings: Any, which: str, host: str
) -> None:
    settings.NOTIFIER_OWN_LISTENERS = [f"localhost:{inside.port}"]
    ports = {
        "database": int(live.DATABASES["default"].get("PORT") or 0),
        "broker": urlsplit(live.CELERY_BROKER_URL).port,
        "web": inside.port,
    }
    if not ports[which]:
        pytest.skip("SQLite listens nowhere")
    open_to_all = make_partner(allow_hosts=["*:*"], allow_private_cidrs=["127.0.0.0/8", "::1/128"])
    task = make_task(open_to_all, target_url=f"http://{host}:{ports[which]}/")

    _assert_blocked(task, _end(task), "the notifier itself listens there")
    assert inside.connections == 0
