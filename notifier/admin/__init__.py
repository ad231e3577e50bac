"""The admin site: tasks with their attempts, partners and their secrets, API keys, the audit trail; one file a model."""

from django.contrib import admin

from notifier.admin.api_keys import ApiKeyAdmin
from notifier.admin.audit_entries import AuditEntryAdmin
from notifier.admin.partners import PartnerAdmin
from notifier.admin.secrets import SecretAdmin
from notifier.admin.tasks import TaskAdmin

__all__ = ["ApiKeyAdmin", "AuditEntryAdmin", "PartnerAdmin", "SecretAdmin", "TaskAdmin"]

admin.site.site_header = "Notifier"
admin.site.site_title = "Notifier"
# A few models need no menu beside every page; a list of tasks needs the width.
admin.site.enable_nav_sidebar = False
admin.site.index_title = "Inspect and operate"
