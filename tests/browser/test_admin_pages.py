"""Every page of the admin, seen: at 1280 and 800 pixels, light and dark, empty, full, and with hostile text."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.browser.rows import fill, hostile
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.django_db(transaction=True)

SIZES = [(1280, False), (1280, True), (800, False), (800, True)]
LISTS = [
    "",
    "?window=24h",
    "notifier/bulkrequeue/",
    "notifier/bulkrequeue/start/",
    "notifier/notificationtask/",
    "notifier/partner/",
    "notifier/apikey/",
    "notifier/auditentry/",
]


@pytest.fixture
def root(visitor: Visitor) -> Visitor:
    visitor.log_in(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return visitor


def _see(root: Visitor, paths: dict[str, str], kind: str) -> None:
    wide = {}
    for name, path in paths.items():
        for width, dark in SIZES:
            root.go(f"/admin/{path}", width=width, dark=dark)
            root.shoot(f"{kind}-{name}-{width}-{'dark' if dark else 'light'}")
            if found := root.scrolls_sideways():
                wide[name, width, dark] = found
    assert wide == {}
    assert root.troubles == []


def _lists() -> dict[str, str]:
    return {path.strip("/?").rpartition("/")[2].replace("=", "-") or "dashboard": path for path in LISTS}


def test_empty_pages(root: Visitor) -> None:
    _see(root, {**_lists(), "partner-add": "notifier/partner/add/", "apikey-add": "notifier/apikey/add/"}, "empty")


def test_full_pages(root: Visitor) -> None:
    _see(root, {**_lists(), **fill()}, "full")


def test_hostile_pages(root: Visitor) -> None:
    _see(root, {**_lists(), **hostile()}, "hostile")
