"""A worker's claimer and recorder, worked one step at a time; the test is the partner that answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from deliveries.claimer import Claimer
from deliveries.recorder import Recorder
from deliveries.sending import Sending
from deliveries.transport.transfer import Settled
from deliveries.woken import Lane, Woken
from notifier.models import Partner
from notifier.policy.exchange import Exchange, Timing

OK = Exchange(status=200, timing=Timing(total_ms=5))


class Stations:
    """One worker process without its engine."""

    def __init__(self, slots: int = 1000) -> None:
        self.woken = Woken(slots)
        self.sent: list[Sending] = []
        self.sent_at: list[datetime] = []
        self.idled = 0
        # Whom the recorder woke in all workers.
        self.woken_everywhere: list[str] = []
        self.on_release: Callable[[], object] = lambda: None
        self.claimers = [Claimer(self.woken, lane, send=self._send, idle=self._idle, wait_seconds=0) for lane in Lane]
        self.recorder = Recorder(release=self._release, wake=self._wake, wake_later=self.woken.wake_later)

    def _send(self, sending: Sending, now: datetime) -> None:
        self.sent.append(sending)
        self.sent_at.append(now)

    def _idle(self) -> None:
        self.idled += 1

    def _release(self, finished: Collection[tuple[str, float]]) -> None:
        self.on_release()
        self.woken.release(finished)

    def _wake(self, partner_ids: Iterable[str]) -> None:
        woken = list(partner_ids)
        self.woken_everywhere += woken
        self.woken.wake(woken)

    def work(self, *partners: Partner) -> bool:
        """Wake the partners and give a turn to those on time, and one to those behind."""
        self.woken.wake([partner.partner_id for partner in partners])
        return all(claimer.work() for claimer in self.claimers)

    def turn(self, *partners: Partner) -> list[Sending]:
        """What the partners' turn sent."""
        before = len(self.sent)
        self.work(*partners)
        return self.sent[before:]

    def answer(self, sendings: Iterable[Sending], result: Settled = OK) -> None:
        """The partner answers all of these so, and it is recorded."""
        for sending in sendings:
            self.put(sending, result)
        self.recorder.work()

    def put(self, sending: Sending, result: Settled) -> None:
        """The partner answers this one so; the recorder's next batch has it."""
        self.recorder.put(sending, result)

    def prove_prompt(self, *partners: Partner) -> None:
        """Something of each partner came back in time: they may have more than the unproven."""
        for partner in partners:
            self.woken.occupy({partner.partner_id: 1})
            self.woken.release([(partner.partner_id, 0.01)])

    def next(self) -> list[str]:
        """Whose turn would be next; it is theirs no longer."""
        return [name for lane in Lane for name in self.woken.take(lane, 5, most_rows=100, timeout=0)]
