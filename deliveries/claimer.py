"""The claimer: gives woken partners their turn, one short transaction for up to a hundred of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError

from deliveries.checks import LEASE_MARGIN_SECONDS
from deliveries.sending import Sending
from deliveries.suspects import Suspects
from deliveries.woken import Woken
from notifier import clock, lifecycle
from notifier.models import Partner
from notifier.partners import Directory
from notifier.policy import flow
from notifier.selectors import due_keys
from notifier.transactions import atomically
from notifier.wake import publisher

TURN_PARTNERS = 100
TURN_ROWS = 400
# Another worker holds the partner's row for the few milliseconds of its claim.
LOCKED_SECONDS = 0.005
# Partners with more work are published this often, so that other workers join.
SHARE_SECONDS = 0.1
IDLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave: claims to send, partners that have more, partners that another worker was just claiming."""

    claims: list[Sending]
    more: list[str]
    locked: list[str]
    now: datetime


class Claimer:
    """Turns wakes into claims. ``send`` gets every claim; ``idle`` is called between turns, for what must also be done."""

    def __init__(
        self,
        woken: Woken,
        *,
        send: Callable[[Sending, datetime], None],
        idle: Callable[[], None],
    ) -> None:
        self._woken = woken
        self._send = send
        self._idle = idle
        self._directory = Directory()
        self._suspects = Suspects()
        self._share_at = 0.0

    def work(self) -> bool:
        """One turn; False when stopped. While the database is away the partners of the turn stay woken."""
        # Before the partners are taken: what it raises must not lose them.
        self._idle()
        partner_ids = self._suspects.alone() or self._suspects.without(
            self._woken.take(TURN_PARTNERS, timeout=IDLE_SECONDS)
        )
        if self._woken.stopped:
            return False
        if not partner_ids:
            return True
        begun = time.monotonic()
        try:
            turn = self._turn(partner_ids)
        except (OperationalError, InterfaceError):
            self._woken.wake(partner_ids)
            raise
        except Exception as error:  # noqa: BLE001 - a partner whose data cannot be used: its own failure, nobody else's
            if not self._buried(partner_ids):
                self._suspects.raised(partner_ids, error)
            return True
        self._suspects.cleared(partner_ids)
        self._woken.occupy(len(turn.claims))
        if self._woken.stopped or self._too_late(begun):
            self._give_back(turn)
            return True
        for sending in turn.claims:
            self._send(sending, turn.now)
        if turn.more:
            self._woken.wake(turn.more)
            self._share(turn.more)
        if turn.locked:
            self._woken.wake_later(turn.locked, LOCKED_SECONDS)
        return True

    def _buried(self, partner_ids: Collection[str]) -> bool:
        """Whether rows of the one partner were at fault; they are dead now, and the rest can go."""
        if len(partner_ids) > 1:
            return False
        now = clock.read()
        if not lifecycle.bury_unusable(due_keys(partner_ids, now, limit=TURN_ROWS), now=now):
            return False
        self._woken.wake(partner_ids)
        return True

    def _turn(self, partner_ids: Collection[str]) -> Turn:
        partners = {partner.pk: partner for partner in self._directory.by_id(partner_ids).values()}
        share = max(1, min(self._woken.slots, TURN_ROWS) // max(1, len(partners)))
        return atomically(lambda: self._claim(partners, share))

    def _claim(self, partners: dict[int, Partner], share: int) -> Turn:
        now = clock.read()
        locked = lifecycle.lock_partners(partners)
        permits: dict[int, int] = {}
        room = self._woken.slots
        for key in locked:
            slots = min(share, room)
            permits[key] = flow.permit(enabled=partners[key].enabled, paused=partners[key].paused, slots=slots).count
            room -= permits[key]
        claims = lifecycle.claim(permits, now=now, lease_for=timedelta(seconds=settings.NOTIFIER_LEASE_SECONDS))
        taken = dict.fromkeys(permits, 0)
        for claim in claims:
            taken[claim.partner_id] += 1
        return Turn(
            claims=[Sending(claim, partners[claim.partner_id]) for claim in claims],
            more=[
                partner.partner_id
                for key, partner in partners.items()
                if key in permits and not (partner.paused or not partner.enabled) and taken[key] == permits[key]
            ],
            locked=[partner.partner_id for key, partner in partners.items() if key not in permits],
            now=now,
        )

    def _too_late(self, begun: float) -> bool:
        """Whether the claim took so long that a request could outlive its lease."""
        spare = settings.NOTIFIER_LEASE_SECONDS - settings.NOTIFIER_MAX_TIMEOUT_SECONDS - LEASE_MARGIN_SECONDS / 2
        return time.monotonic() - begun > spare

    def _give_back(self, turn: Turn) -> None:
        claims = [sending.claim for sending in turn.claims]
        try:
            if claims:
                atomically(lambda: lifecycle.give_back(claims, now=clock.read()))
        finally:
            self._woken.release(len(claims))
            self._woken.wake({sending.partner.partner_id for sending in turn.claims})

    def _share(self, partner_ids: Collection[str]) -> None:
        if time.monotonic() >= self._share_at:
            self._share_at = time.monotonic() + SHARE_SECONDS
            publisher.wake(partner_ids)
