"""The tables, one noun a file."""

from notifier.models.api_key import ApiKey, KeyAllowance, Scope
from notifier.models.attempt import AttemptStatus, NotificationAttempt
from notifier.models.audit import AuditEntry
from notifier.models.bulk_requeue import BulkRequeue
from notifier.models.label import NotificationLabel
from notifier.models.partner import Partner, PartnerState
from notifier.models.rollup import ErrorRollup, PartnerRollup, RollupState, Span
from notifier.models.secret import PartnerSecret
from notifier.models.sweep import SweepState
from notifier.models.task import NotificationTask, Status

__all__ = [
    "ApiKey",
    "AttemptStatus",
    "AuditEntry",
    "BulkRequeue",
    "ErrorRollup",
    "KeyAllowance",
    "NotificationAttempt",
    "NotificationLabel",
    "NotificationTask",
    "Partner",
    "PartnerRollup",
    "PartnerSecret",
    "PartnerState",
    "RollupState",
    "Scope",
    "Span",
    "Status",
    "SweepState",
]
