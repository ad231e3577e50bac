"""What the embedded run has from its first start: a partner, an API key and an administrator."""

from __future__ import annotations

import os

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from config.embedded.environment import ADMIN_NAME, PARTNER_ID
from notifier import api_keys, audit, partners
from notifier.models import ApiKey, Partner, Scope

KEY_NAME = "demo key of make run"


def make() -> None:
    """Make what does not exist; leave what exists as it is, with whatever was edited there since."""
    with transaction.atomic():
        _partner()
        _key(settings.NOTIFIER_DEMO_API_KEY)
        _admin(os.environ["NOTIFIER_DEMO_ADMIN_PASSWORD"])


def _partner() -> None:
    if Partner.objects.filter(partner_id=PARTNER_ID).exists():
        return
    partner = Partner(
        partner_id=PARTNER_ID,
        name="The partner simulator",
        allow_hosts=["127.0.0.1:*"],
        allow_private_cidrs=["127.0.0.0/8"],
        # At most 1, 2, 4, 8, 16, 32, 60, 60, 60 s: a failure is seen to be retried, and gives up after 4 minutes.
        retry_base_seconds=1.0,
        retry_factor=2.0,
        retry_max_seconds=60.0,
        max_attempts=10,
        # The samples fail on purpose, and so will what is tried out: its circuit opens for an outage, not for these, and nobody
        # at a demonstration wants to wait minutes for a probe.
        circuit_min_attempts=100,
        circuit_max_pause_seconds=10.0,
    )
    partners.validate(partner)
    partner.save()
    audit.record_partner(audit.by_command(), partner, None)


def _key(plain: str) -> None:
    """The demo key has the value of the settings; a demo key of another value is replaced. A revoked one stays revoked."""
    existing = ApiKey.objects.filter(name=KEY_NAME).first()
    if existing is not None:
        revoked = existing.revoked_at is not None and existing.prefix == plain[: api_keys.PREFIX_LENGTH]
        if revoked or api_keys.find(plain) == existing:
            return
        audit.record(audit.by_command(), "key.delete", object_kind="key", object_id=existing.prefix)
        existing.delete()
    api_keys.create(name=KEY_NAME, scopes=Scope.values, plain=plain)


def _admin(password: str) -> None:
    users = get_user_model().objects
    if not users.filter(username=ADMIN_NAME).exists():
        users.create_superuser(ADMIN_NAME, password=password)
