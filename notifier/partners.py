"""Partners: validation of everything about them, whoever writes it, and a short-lived copy for those who ask often."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from notifier.models import Partner
from notifier.policy import allow_list, condition, header_rules, partner_auth, redaction, retry
from notifier.policy.header_rules import HeaderError
from notifier.policy.partner_auth import AuthError
from notifier.recent import Recent

PARTNER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_SCHEDULE_STEPS = 100
MAX_LIST_ENTRIES = 200
MAX_NAME = 200
# Of partners in use so many are read again with one that must be.
READ_TOGETHER = 100
# No limit, or never.
NULLABLE_NUMBERS = ("rate_per_second", "burst", "max_concurrency", "circuit_failure_ratio")
WHOLE_NUMBERS = ("max_attempts", "burst", "max_concurrency", "circuit_min_attempts")


def validate(partner: Partner) -> None:
    """Raise ``ValidationError`` with a sentence for each field that cannot be used."""
    errors: dict[str, list[str]] = {}

    def refuse(field: str, sentence: str) -> None:
        errors.setdefault(field, []).append(sentence)

    if not isinstance(partner.partner_id, str) or not PARTNER_ID.fullmatch(partner.partner_id):
        refuse("partner_id", "must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    if not isinstance(partner.name, str) or len(partner.name) > MAX_NAME or not partner.name.isprintable():
        refuse("name", f"must be at most {MAX_NAME} printable characters")
    enabled: Any = partner.enabled
    if not isinstance(enabled, bool):
        refuse("enabled", "must be true or false")
    _numbers(partner, refuse)
    _destinations(partner, refuse)
    _authentication(partner, refuse)
    _retry(partner, refuse)
    _judging(partner, refuse)
    if errors:
        raise ValidationError(errors)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _numbers(partner: Partner, refuse: Any) -> None:
    longest = settings.NOTIFIER_MAX_TIMEOUT_SECONDS
    limits: dict[str, tuple[float, float]] = {
        "connect_timeout_seconds": (0.01, longest),
        "timeout_seconds": (0.01, longest),
        "retry_base_seconds": (0, retry.MAX_DELAY_SECONDS),
        "retry_factor": (1, 100),
        "retry_max_seconds": (0, retry.MAX_DELAY_SECONDS),
        "max_attempts": (1, retry.MAX_ATTEMPTS),
        "max_age_hours": (0.001, 24 * 366),
        "rate_per_second": (0.001, 1_000_000),
        "burst": (1, 1_000_000),
        "max_concurrency": (1, 1_000_000),
        "circuit_failure_ratio": (0.01, 1),
        "circuit_min_attempts": (1, 1_000_000),
        "circuit_window_seconds": (1, 86_400),
        "circuit_pause_seconds": (0.1, 86_400),
        "circuit_max_pause_seconds": (0.1, 86_400),
    }
    for field, (low, high) in limits.items():
        value = getattr(partner, field)
        if value is None and field in NULLABLE_NUMBERS:
            continue
        whole = field in WHOLE_NUMBERS
        if not _number(value) or (whole and not isinstance(value, int)):
            refuse(field, "must be a whole number" if whole else "must be a number")
        elif not low <= value <= high:
            refuse(field, f"must be between {low:g} and {high:g}")
    if partner.burst is not None and partner.rate_per_second is None:
        refuse("burst", "needs rate_per_second beside it")


def _strings(partner: Partner, field: str, refuse: Any) -> list[str]:
    value = getattr(partner, field)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        refuse(field, "must be a list of strings")
        return []
    if len(value) > MAX_LIST_ENTRIES:
        refuse(field, f"must have at most {MAX_LIST_ENTRIES} entries")
    return value


def _destinations(partner: Partner, refuse: Any) -> None:
    for entry in _strings(partner, "allow_hosts", refuse):
        try:
            allow_list.read(entry)
        except ValueError as error:
            refuse("allow_hosts", str(error))
    for block in _strings(partner, "allow_private_cidrs", refuse):
        try:
            ipaddress.ip_network(block)
        except ValueError as error:
            refuse("allow_private_cidrs", f"{block!r} is not an address range like 10.1.0.0/16: {error}")
    headers: Any = partner.headers
    if isinstance(headers, dict):
        # A sealed value was looked at before it was sealed.
        headers = {name: redaction.MASK if isinstance(value, dict) else value for name, value in headers.items()}
    try:
        header_rules.check(headers)
    except HeaderError as error:
        refuse("headers", str(error))


def _authentication(partner: Partner, refuse: Any) -> None:
    for field, read in (
        ("auth", partner_auth.auth),
        ("client_certificate", partner_auth.client_certificate),
        ("signing_secrets", partner_auth.signing_secrets),
    ):
        try:
            read(getattr(partner, field))
        except AuthError as error:
            refuse(field, str(error))
    seal_bodies: Any = partner.seal_bodies
    if not isinstance(seal_bodies, bool):
        refuse("seal_bodies", "must be true or false")
    names = [str(name).lower() for name in partner.headers] if isinstance(partner.headers, dict) else []
    if partner.auth and "authorization" in names:
        refuse("auth", "cannot stand beside a default header Authorization")


def secrets_named(partner: Partner) -> set[str]:
    """The secrets that a valid partner's configuration names."""
    return own_secrets(partner) | header_rules.all_secrets_named(
        value for value in partner.headers.values() if isinstance(value, str)
    )


def own_secrets(partner: Partner) -> set[str]:
    """Those that authenticate and sign: nobody's header may have one, or a producer could have it sent where they like."""
    named = set(partner_auth.secrets_of(partner_auth.auth(partner.auth))) | set(partner.signing_secrets)
    certificate = partner_auth.client_certificate(partner.client_certificate)
    if certificate is not None:
        named |= {certificate.certificate, certificate.key}
    return named


def _retry(partner: Partner, refuse: Any) -> None:
    if partner.retry_jitter not in list(retry.Jitter):
        refuse("retry_jitter", "must be full or none")
    schedule = partner.retry_schedule
    if schedule is None:
        return
    if not isinstance(schedule, list) or not 1 <= len(schedule) <= MAX_SCHEDULE_STEPS:
        refuse("retry_schedule", f"must be a list of 1 to {MAX_SCHEDULE_STEPS} waits in seconds")
    elif not all(_number(step) and 0 <= step <= retry.MAX_DELAY_SECONDS for step in schedule):
        refuse("retry_schedule", f"must hold seconds between 0 and {retry.MAX_DELAY_SECONDS:g}")


def _judging(partner: Partner, refuse: Any) -> None:
    statuses = partner.permanent_statuses
    if (
        not isinstance(statuses, list)
        or len(statuses) > MAX_LIST_ENTRIES
        or not all(
            isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599 for status in statuses
        )
    ):
        refuse("permanent_statuses", "must be a list of status codes between 100 and 599")
    try:
        condition.check(str(partner.success_condition))
    except condition.ConditionError as error:
        refuse("success_condition", f"cannot be used: {error}")


class Directory:
    """Partners by partner_id or key, read at most once in ``max_age_seconds``: a change takes effect within that.

    Those in use are read again together. Safe for threads. A partner that does not exist is asked for again each time.
    """

    def __init__(self, *, max_age_seconds: float = 1.0, ticks: Callable[[], float] = time.monotonic) -> None:
        self._by_id: Recent[str, Partner] = Recent(max_age_seconds, ticks=ticks)
        self._by_key: Recent[int, Partner] = Recent(max_age_seconds, ticks=ticks)

    def by_id(self, partner_ids: Iterable[str]) -> dict[str, Partner]:
        return self._get(self._by_id, partner_ids, "partner_id")

    def by_key(self, keys: Iterable[int]) -> dict[int, Partner]:
        return self._get(self._by_key, keys, "pk")

    def _get(self, recent: Recent[Any, Partner], wanted: Iterable[Any], column: str) -> dict[Any, Partner]:
        found, missing = {}, set()
        for key in wanted:
            partner = recent.get(key)
            if partner is None:
                missing.add(key)
            else:
                found[key] = partner
        if missing:
            read_at = recent.begin()
            for partner in Partner.objects.filter(
                **{f"{column}__in": missing | recent.aging(READ_TOGETHER)}
            ).order_by():
                self._by_id.put(partner.partner_id, partner, read_at=read_at)
                self._by_key.put(partner.pk, partner, read_at=read_at)
                if (key := getattr(partner, column)) in missing:
                    found[key] = partner
        return found
