"""A claimer: gives the woken partners of its lane their turn, one short transaction for up to a hundred of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError

from deliveries import measure
from deliveries.checks import LEASE_MARGIN_SECONDS
from deliveries.pace import LATE_SECONDS, PACE_SECONDS, PACED_ROWS
from deliveries.sending import Sending
from deliveries.suspects import Suspects
from deliveries.woken import ENOUGH_ROWS, SHARED_ROWS, Lane, Woken
from notifier import clock, lifecycle, partner_flow, rest
from notifier.models import Partner
from notifier.partners import Directory
from notifier.policy import flow
from notifier.policy.flow import Permit, Wait
from notifier.selectors import due_keys
from notifier.transactions import atomically
from notifier.wake import publisher

# Under load a turn's fixed cost of a few ms is shared by so many rows.
TURN_ROWS = 400
# A turn is for so many partners, and for fewer with more rows each while most of them have more than their part: each visit of a
# partner costs as much as a few rows.
TURN_PARTNERS = 100
FEWEST_PARTNERS = TURN_ROWS // SHARED_ROWS
LATE = timedelta(seconds=LATE_SECONDS)
# Another worker holds the partner's row for the few milliseconds of its claim.
LOCKED_SECONDS = 0.005
# Partners with more work are published this often, so that other workers join.
SHARE_SECONDS = 0.25
IDLE_SECONDS = 0.25
# A turn of those on time that took longer than this is followed by a rest: where the machine is idle there is
# none, and where it is busy the next turn serves more of them at the price of this one. It is as long as the turn took beyond, and
# longer where the turn had more than a few rows.
PROMPT_TURN_SECONDS = 0.004
LONGEST_REST_SECONDS = 0.015
FEW_ROWS = 5
# A partner that must wait for no longer than this gets a timer of its own; the sweep wakes the others when it is time.
TIMER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave: claims to send, and by partner_id who gets the next turn when."""

    claims: list[Sending]
    more: list[str]
    locked: list[str]
    waiting: dict[str, float]
    # Of whom some claim was late, and who used up what the turn might have: a single row that only the sweep finds does not
    # put a partner behind.
    behind: set[str]
    # Of whom some claim was late, and that was all: it waits for nobody, and nobody stands back for it.
    caught_up: set[str]
    now: datetime

    @property
    def counts(self) -> Counter[str]:
        """Claims by partner_id."""
        return Counter(sending.partner.partner_id for sending in self.claims)


def partners_next(most: int, *, served: int, unfinished: int, rows: int) -> int:
    """For how many partners the next turn may be, after one that had ``rows`` of ``served`` partners, and might be for ``most``.

    Half as many where most have more. Else an eighth more each time, and no more than can each have a row beyond what they had on
    average: who gets exactly what it has is visited once more for nothing.
    """
    if served > FEWEST_PARTNERS and unfinished * 2 > served:
        return max(FEWEST_PARTNERS, most // 2)
    if served < most or unfinished * 4 >= served:
        return most
    in_one_visit = TURN_ROWS * served // (rows + served)
    return min(TURN_PARTNERS, max(most, min(in_one_visit, most + max(1, most // 8))))


def rest_seconds(rows: int, turn_seconds: float) -> float:
    """How long those on time wait for the next turn, after one of so many rows that took so long."""
    if rows >= ENOUGH_ROWS:
        return 0.0
    beyond = max(0.0, min(turn_seconds - PROMPT_TURN_SECONDS, LONGEST_REST_SECONDS))
    return rest.lengthened(beyond, carried=rows, few=FEW_ROWS)


class Claimer:
    """Turns wakes into claims, in a thread of its own for each lane: those on time do not wait for a turn of those behind.

    ``send`` gets every claim, from the claimer's thread; ``idle`` is called between turns, for what must also be done.
    """

    def __init__(
        self,
        woken: Woken,
        lane: Lane,
        *,
        send: Callable[[Sending, datetime], None],
        idle: Callable[[], None] = lambda: None,
        wait_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._woken = woken
        self._lane = lane
        self._wait_seconds = wait_seconds
        self._send = send
        self._idle = idle
        self._directory = Directory()
        self._suspects = Suspects()
        self._most_partners = TURN_PARTNERS
        self._share_at = 0.0

    def work(self) -> bool:
        """One turn; False when stopped. While the database is away the partners of the turn stay woken."""
        # Before the partners are taken: what it raises must not lose them.
        self._idle()
        shares = self._next()
        if self._woken.stopped:
            return False
        if not shares:
            return True
        begun = time.monotonic()
        try:
            turn = self._turn(shares, begun)
        except (OperationalError, InterfaceError):
            self._woken.occupy({}, lane=self._lane)
            self._woken.wake(shares)
            raise
        except Exception as error:  # noqa: BLE001 - a partner whose data cannot be used: its own failure, nobody else's
            self._woken.occupy({}, lane=self._lane)
            self._fault(shares, error)
            return True
        seconds = time.monotonic() - begun
        measure.worker.claimed(turn.claims, partners=len(shares), now=turn.now, seconds=seconds)
        self._woken.claimed(self._lane, len(turn.claims))
        self._suspects.cleared(shares)
        self._most_partners = partners_next(
            self._most_partners, served=len(shares), unfinished=len(turn.more), rows=len(turn.claims)
        )
        self._woken.occupy(turn.counts, lane=self._lane)
        if self._woken.stopped or time.monotonic() > _begin_before(begun):
            self._give_back(turn)
            return True
        counts = turn.counts
        # Who has little goes before who has much: building and starting a hundred requests takes 10 ms.
        for sending in sorted(turn.claims, key=lambda sending: counts[sending.partner.partner_id]):
            self._send(sending, turn.now)
        self._set_next(turn)
        if self._lane is Lane.ON_TIME:
            threading.Event().wait(rest_seconds(len(turn.claims), seconds))
        return True

    def _fault(self, shares: Collection[str], error: Exception) -> None:
        try:
            buried = self._buried(shares)
        except (OperationalError, InterfaceError):
            self._woken.wake(shares)
            raise
        if not buried:
            self._suspects.raised(shares, error)

    def _set_next(self, turn: Turn) -> None:
        behind, caught_up = turn.behind, turn.caught_up
        more = not behind.isdisjoint(turn.more)
        on_time = turn.counts.keys() - behind - caught_up
        self._woken.served(self._lane, on_time=on_time, caught_up=caught_up, behind=behind, more=more)
        if turn.more:
            self._woken.wake(turn.more)
            self._share(turn.more)
        if turn.locked:
            self._woken.wake_later(turn.locked, LOCKED_SECONDS)
        for partner_id, seconds in turn.waiting.items():
            self._woken.wake_later((partner_id,), seconds)

    def _next(self) -> dict[str, int]:
        """Whose turn it is, and the slots that each may have. A suspect gets a turn alone."""
        free = self._woken.free
        alone = self._suspects.alone() if free > 0 else []
        if alone:
            return dict.fromkeys(alone, min(PACED_ROWS, free))
        taken = self._woken.take(self._lane, self._most_partners, most_rows=TURN_ROWS, timeout=self._wait_seconds)
        return {partner_id: taken[partner_id] for partner_id in self._suspects.without(list(taken))}

    def _buried(self, partner_ids: Collection[str]) -> bool:
        """Whether rows of the one partner were at fault; they are dead now, and the rest can go."""
        if len(partner_ids) > 1:
            return False
        now = clock.read()
        if not lifecycle.bury_unusable(due_keys(partner_ids, now, limit=TURN_ROWS), now=now):
            return False
        self._woken.wake(partner_ids)
        return True

    def _turn(self, shares: Mapping[str, int], begun: float) -> Turn:
        partners = {partner.pk: partner for partner in self._directory.by_id(shares).values()}
        # Before anything is read: a request that ends meanwhile makes room, and must be heard of.
        self._woken.wake_on_release(
            partner.partner_id for partner in partners.values() if partner.max_concurrency is not None
        )
        return atomically(lambda: self._claim(partners, shares, begun))

    def _claim(self, partners: Mapping[int, Partner], shares: Mapping[str, int], begun: float) -> Turn:
        locked, now = partner_flow.lock(partners)
        lease_for = timedelta(seconds=settings.NOTIFIER_LEASE_SECONDS)
        flows = {key: held if partners[key].enabled else replace(held, enabled=False) for key, held in locked.items()}
        limited = [key for key in flows if partners[key].max_concurrency is not None]
        in_flight = lifecycle.in_flight(limited, now=now)
        permits = {
            key: flow.permit(
                flows[key],
                partners[key].limits,
                in_flight=in_flight.get(key, 0),
                slots=shares[partners[key].partner_id],
                now=now,
            )
            for key in flows
        }
        counts = {key: permit.count for key, permit in permits.items()}
        found: Counter[int] = Counter()
        claims = lifecycle.claim(counts, now=now, lease_for=lease_for, found=found, late_after=LATE)
        taken = Counter(claim.partner_id for claim in claims)
        partner_flow.spend(taken, {key: (flows[key], partners[key].limits) for key in taken}, now=now)
        late = {claim.partner_id for claim in claims if claim.late}
        probes = {key: flows[key] for key in taken if permits[key].probe}
        begin_before = _begin_before(begun)
        partner_flow.send_probes(probes, now=now, lease_for=lease_for)
        return Turn(
            claims=[
                Sending(claim, partners[claim.partner_id], claim.partner_id in probes, begin_before) for claim in claims
            ],
            more=[
                partners[key].partner_id
                for key, permit in permits.items()
                if permit.wait is None and found[key] == permit.count and (taken[key] or not found[key])
            ],
            locked=[partner.partner_id for key, partner in partners.items() if key not in permits],
            waiting=_timers(
                {
                    # Fewer than permitted: no more work.
                    partners[key].partner_id: permit
                    for key, permit in permits.items()
                    if found[key] == permit.count
                },
                now,
            )
            # All that was found has expired: the sweep ends it, and there may be more behind it.
            | {partners[key].partner_id: PACE_SECONDS for key in found if not taken[key]},
            behind={partners[key].partner_id for key in late if found[key] == permits[key].count},
            caught_up={partners[key].partner_id for key in late if found[key] != permits[key].count},
            now=now,
        )

    def _give_back(self, turn: Turn) -> None:
        claims = [sending.claim for sending in turn.claims]
        probes = [sending.claim.partner_id for sending in turn.claims if sending.probe]
        try:
            if claims:
                atomically(lambda: _undo(claims, probes))
        finally:
            self._woken.give_back(turn.counts)
            self._woken.wake({*turn.counts, *turn.more, *turn.locked, *turn.waiting})

    def _share(self, partner_ids: Collection[str]) -> None:
        if time.monotonic() >= self._share_at:
            self._share_at = time.monotonic() + SHARE_SECONDS
            publisher.wake(partner_ids)


def _begin_before(claim_begun: float) -> float:
    """A request of this claim that begins later could outlive its lease."""
    return (
        claim_begun + settings.NOTIFIER_LEASE_SECONDS - settings.NOTIFIER_MAX_TIMEOUT_SECONDS - LEASE_MARGIN_SECONDS / 2
    )


def _timers(permits: Mapping[str, Permit], now: datetime) -> dict[str, float]:
    """In how many seconds each partner that must wait gets its next turn, where that is known and soon."""
    seconds = {
        partner_id: max(0.0, (permit.until - now).total_seconds())
        for partner_id, permit in permits.items()
        if permit.wait in (Wait.RATE_LIMIT, Wait.RETRY_AFTER, Wait.CIRCUIT_OPEN) and permit.until is not None
    }
    return {partner_id: wait for partner_id, wait in seconds.items() if wait <= TIMER_SECONDS}


def _undo(claims: Collection[lifecycle.Claim], probes: Collection[int]) -> None:
    now = clock.read()
    lifecycle.give_back(list(claims), now=now)
    if probes:
        partner_flow.probe_again(probes, now=now)
