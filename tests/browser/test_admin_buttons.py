"""The admin's buttons, pressed in a browser: what they do, and that they do it without a word from the console."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from notifier.models import BulkRequeue, NotificationTask, Partner, PartnerState, Status
from notifier.models.task import DeadReason
from tests.browser.visitor import Visitor
from tests.support.factories import make_partner, make_task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root(visitor: Visitor) -> Visitor:
    visitor.log_in(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return visitor


def _dead(partner: Partner, **fields: str) -> NotificationTask:
    return make_task(
        partner, status=Status.DEAD, dead_reason=DeadReason.EXHAUSTED, attempt_count=3, target_url="https://hooks.example.com/a", **fields
    )  # fmt: skip


def _open(root: Visitor, task: NotificationTask) -> None:
    root.go(f"/admin/notifier/notificationtask/{task.pk}/change/")


def test_the_curl_command_is_copied(root: Visitor) -> None:
    root.grant("clipboard-read", "clipboard-write")
    _open(root, _dead(make_partner()))

    root.page.get_by_role("button", name="Copy").click()

    root.page.get_by_role("button", name="Copied").wait_for()
    copied = root.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert copied.rstrip().endswith("https://hooks.example.com/a")
    assert root.troubles == []


def test_without_a_clipboard_the_command_is_marked(root: Visitor) -> None:
    _open(root, _dead(make_partner()))
    root.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")

    root.page.get_by_role("button", name="Copy").click()

    root.page.get_by_role("button", name="Marked").wait_for()
    assert root.page.evaluate("String(window.getSelection())").startswith("curl ")


def test_a_policy_that_is_not_saved_shows_its_attempts(root: Visitor) -> None:
    partner = make_partner()
    root.go(f"/admin/notifier/partner/{partner.pk}/change/")

    root.page.locator("[name=max_attempts]").fill("4")
    root.page.get_by_role("button", name="Preview the attempts").click()

    # A line of names, and one for each attempt.
    expect(root.page.locator(".ntf-preview .ntf-attempt-times tr")).to_have_count(1 + 4)
    root.page.locator("[name=max_attempts]").fill("0")
    root.page.get_by_role("button", name="Preview the attempts").click()
    root.page.get_by_text("must be between 1 and").wait_for()
    assert Partner.objects.get(pk=partner.pk).max_attempts == partner.max_attempts


def test_cancel_and_requeue(root: Visitor) -> None:
    task = make_task(make_partner())
    _open(root, task)

    root.page.get_by_role("button", name="Cancel").click()
    root.page.get_by_role("button", name="Requeue", exact=True).wait_for()
    task.refresh_from_db()
    assert (task.status, task.dead_reason) == (Status.DEAD, DeadReason.CANCELLED)

    root.page.get_by_role("button", name="Requeue", exact=True).click()
    root.page.get_by_role("button", name="Cancel").wait_for()
    task.refresh_from_db()
    assert task.status == Status.PENDING
    assert root.troubles == []


def test_requeue_with_another_address(root: Visitor) -> None:
    dead = _dead(make_partner(allow_hosts=["hooks.example.com"]))
    _open(root, dead)

    root.page.get_by_role("link", name="Requeue with changes").click()
    root.page.locator("[name=target_url]").fill("https://hooks.example.com/b")
    root.page.get_by_role("button", name="Requeue", exact=True).click()

    root.page.get_by_text("https://hooks.example.com/b").first.wait_for()
    replacement = NotificationTask.objects.exclude(pk=dead.pk).get()
    assert (replacement.target_url, replacement.status) == ("https://hooks.example.com/b", Status.PENDING)
    assert root.troubles == []


def test_a_bulk_requeue_is_counted_and_begun(root: Visitor) -> None:
    partner = make_partner()
    for _ in range(3):
        _dead(partner)
    root.go("/admin/notifier/notificationtask/?status__exact=dead")

    root.page.get_by_role("link", name="Requeue dead ones in bulk").click()
    root.page.get_by_role("button", name="Count what matches").click()
    root.page.get_by_text("Narrow it by at least one of these").wait_for()
    root.page.locator("[name=partner]").fill(partner.partner_id)
    root.page.get_by_role("button", name="Count what matches").click()
    assert root.page.locator("#matched").inner_text().startswith("3 ")
    root.page.get_by_role("button", name="Requeue them").click()

    root.page.wait_for_url("**/bulkrequeue/*/change/")
    assert BulkRequeue.objects.count() == 1
    assert root.troubles == []


def test_pause_and_resume(root: Visitor) -> None:
    partner = make_partner()
    root.go(f"/admin/notifier/partner/{partner.pk}/change/")

    root.page.get_by_role("button", name="Pause").click()
    root.page.get_by_role("button", name="Resume").wait_for()
    assert PartnerState.objects.get(pk=partner.pk).paused_at is not None

    root.page.get_by_role("button", name="Resume").click()
    root.page.get_by_role("button", name="Pause").wait_for()
    assert PartnerState.objects.get(pk=partner.pk).paused_at is None
    assert root.troubles == []
