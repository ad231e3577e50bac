"""The menu beside every page: what the person may see, and nothing else."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

# title, symbol, view, permission (None: everyone who may log in)
PAGES = (
    ("Dashboard", "monitoring", "index", None),
    ("Notification tasks", "outgoing_mail", "notifier_notificationtask_changelist", "notifier.view_notificationtask"),
    ("Bulk requeues", "replay", "notifier_bulkrequeue_changelist", "notifier.view_bulkrequeue"),
    ("Partners", "handshake", "notifier_partner_changelist", "notifier.view_partner"),
    ("Secrets", "lock", "notifier_partnersecret_changelist", "notifier.view_partnersecret"),
    ("API keys", "key", "notifier_apikey_changelist", "notifier.view_apikey"),
    ("Audit trail", "history", "notifier_auditentry_changelist", "notifier.view_auditentry"),
)
PEOPLE = (
    ("Users", "person", "auth_user_changelist", "auth.view_user"),
    ("Groups", "group", "auth_group_changelist", "auth.view_group"),
)


def items(request: HttpRequest) -> list[dict[str, Any]]:
    groups = ((None, PAGES), ("People", PEOPLE))
    return [
        {"title": title, "separator": title is not None, "items": entries}
        for title, pages in groups
        if (entries := [_item(*page) for page in pages if page[3] is None or request.user.has_perm(page[3])])
    ]


def _item(title: str, icon: str, view: str, permission: str | None) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse(f"admin:{view}")}
