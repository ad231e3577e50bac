"""The admin site: tasks with their attempts, partners and their secrets, API keys, the audit trail; one file a noun."""

from django.contrib import admin

from notifier.admin.api_keys import ApiKeyAdmin
from notifier.admin.audit_entries import AuditEntryAdmin
from notifier.admin.bulk_requeues import BulkRequeueAdmin
from notifier.admin.partners import PartnerAdmin
from notifier.admin.people import PersonAdmin, RoleAdmin
from notifier.admin.secrets import SecretAdmin
from notifier.admin.tasks import TaskAdmin

__all__ = [
    "ApiKeyAdmin",
    "AuditEntryAdmin",
    "BulkRequeueAdmin",
    "PartnerAdmin",
    "PersonAdmin",
    "RoleAdmin",
    "SecretAdmin",
    "TaskAdmin",
]

admin.site.index_template = "notifier/dashboard.html"
admin.site.index_title = "Dashboard"
