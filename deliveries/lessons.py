"""What attempts teach about partners, gathered in the recorder's thread and written where it matters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from deliveries.sending import Sending
from notifier import partner_flow
from notifier.models import Partner
from notifier.partner_flow import Lesson, Turned
from notifier.policy import circuit
from notifier.policy.circuit import Evidence, Tally
from notifier.transactions import atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """What one attempt says about its partner."""

    evidence: Evidence
    error_code: str | None = None
    hold_until: datetime | None = None


@dataclass(slots=True)
class _Gathered:
    """Of one partner, since it was last written. Answers age like those in the row."""

    partner: Partner
    answered: float = 0.0
    answered_at: float = field(default_factory=time.monotonic)
    failed: int = 0
    error_code: str = ""
    hold_until: datetime | None = None
    probe: Evidence | None = None

    @property
    def matters(self) -> bool:
        """Whether the row must know. Answers alone cannot open a circuit: a healthy partner's row is never written."""
        return bool(self.failed or self.hold_until or self.probe)

    def answer(self, now: float) -> None:
        self.answered = self._aged(now) + 1
        self.answered_at = now

    def lesson(self, now: float) -> Lesson:
        return Lesson(
            policy=self.partner.circuit_policy,
            tally=Tally(self._aged(now), self.failed, self.error_code),
            hold_until=self.hold_until,
            probe=self.probe,
        )

    def _aged(self, now: float) -> float:
        window = self.partner.circuit_window_seconds
        return circuit.aged(self.answered, seconds=now - self.answered_at, window_seconds=window)


class Lessons:
    """One thread's. ``wake`` gets the partners whose circuits closed: their waiting notifications may go."""

    def __init__(self, *, wake: Callable[[Iterable[str]], None]) -> None:
        self._wake = wake
        self._gathered: dict[int, _Gathered] = {}
        # Keys of those that matter. Of thousands of healthy partners each has something gathered.
        self._mattering: set[int] = set()

    def take(self, sending: Sending, taught: Taught) -> None:
        """Keep what one attempt taught."""
        partner = sending.partner
        kept = self._gathered.get(partner.pk)
        if kept is None:
            kept = self._gathered[partner.pk] = _Gathered(partner)
        kept.partner = partner
        if taught.hold_until is not None:
            kept.hold_until = max(taught.hold_until, kept.hold_until or taught.hold_until)
        if sending.probe:
            kept.probe, kept.error_code = taught.evidence, taught.error_code or ""
        elif taught.evidence is Evidence.ANSWERED:
            kept.answer(time.monotonic())
        elif taught.evidence is Evidence.FAILED:
            kept.failed += 1
            kept.error_code = taught.error_code or ""
        if kept.matters:
            self._mattering.add(partner.pk)

    @property
    def unwritten(self) -> bool:
        """Whether there is something that the last call could not write."""
        return bool(self._mattering)

    def write(self, now: datetime) -> None:
        """Write what matters. What could not be written, because the database is away, stays for the next call."""
        partners = {key: self._gathered[key].partner for key in self._mattering}
        if not partners:
            return
        ticks = time.monotonic()
        lessons = {key: self._gathered[key].lesson(ticks) for key in partners}
        turned = atomically(lambda: partner_flow.learn(lessons, now=now))
        for key in lessons:
            del self._gathered[key]
        self._mattering.clear()
        self._tell(turned, partners)

    def _tell(self, turned: Sequence[Turned], partners: dict[int, Partner]) -> None:
        for turn in turned:
            partner_id = partners[turn.partner].partner_id
            if turn.circuit.state is circuit.State.CLOSED:
                logger.warning("the circuit of partner %s closed: its probe was answered", partner_id)
            else:
                logger.warning(
                    "the circuit of partner %s opened: %s; next probe at %s",
                    partner_id, turn.circuit.reason, turn.circuit.probe_at,
                )  # fmt: skip
        self._wake(partners[turn.partner].partner_id for turn in turned if turn.circuit.state is circuit.State.CLOSED)
