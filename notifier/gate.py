"""May this partner be sent something there? One answer for accept, each attempt and ``check_target``, before any lookup.

What a name stands for is looked up when the request is sent; deliveries.transport.guard decides about its addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from notifier import listeners
from notifier.models import Partner
from notifier.policy import addresses, allow_list
from notifier.policy.addresses import Address
from notifier.policy.destination import Target


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: a code of the API's, and a sentence."""

    code: str
    message: str


def refusal(where: Target, partner: Partner) -> Refusal | None:
    """Why the rules, as they are now, refuse the target; None where they do not. Asks no resolver."""
    return host_refusal(where, partner) or _literal_refusal(where, partner)


def host_refusal(where: Target, partner: Partner) -> Refusal | None:
    """What the deny-list and the partner's allow-list say."""
    if allow_list.denied(where, settings.NOTIFIER_DENY_HOSTS):
        return Refusal("host_not_allowed", f"This installation denies {where.host} port {where.port} to everybody.")
    if not allow_list.allowed(where, partner.allow_hosts):
        return Refusal(
            "host_not_allowed",
            f"Partner {partner.partner_id!r} may not be reached at {where.host} port {where.port} in this way; "
            "no entry of its allow_hosts names the scheme, host, port and path.",
        )
    return None


def address_refusal(address: Address, port: int, partner: Partner) -> str | None:
    """Why an address may not be connected to, for this partner."""
    reason = addresses.forbidden_address(address, partner.allow_private_cidrs, settings.NOTIFIER_DENY_CIDRS)
    if reason is None and listeners.shared().has(address, port):
        return addresses.OWN_LISTENER
    return reason


def _literal_refusal(where: Target, partner: Partner) -> Refusal | None:
    if where.address is None:
        return None
    reason = address_refusal(where.address, where.port, partner)
    if reason is None:
        return None
    return Refusal("address_not_allowed", f"{where.host} may not be connected to: {reason}.")
