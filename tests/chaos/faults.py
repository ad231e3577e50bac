"""What is done to the system, by seed: a deck of all kinds of faults, dealt one after the other, shuffled, dealt again."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.chaos.house import LEASE_SECONDS, House
from tests.chaos.ledger import Fault, Ledger
from tests.chaos.operated import Operated
from tests.support.servers import Server

# Between one fault's end and the next one's begin.
CALM_SECONDS = (1.0, 4.0)
WEBS, WORKERS, BEATS = ("web-1", "web-2"), ("worker-1", "worker-2"), ("beat-1", "beat-2")
Seconds = tuple[float, float]
# How long a supervisor takes to start a killed process again.
RESTART: Seconds = (0.5, 4.0)
LONGER_THAN_A_LEASE: Seconds = (LEASE_SECONDS + 1, LEASE_SECONDS + 4)
OUTAGE: Seconds = (1.0, 6.0)
AT_ONCE: Seconds = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """``begin`` gives the fault as a context, which undoes it at its end, whatever happens; the context names its target."""

    name: str
    seconds: Seconds
    begin: Callable[[random.Random], AbstractContextManager[str]]
    # Whether it can keep a worker from recording an answer that it had, or was about to have.
    loses_results: bool = False


class Faults:
    """All kinds for one house and its partners' receiver."""

    def __init__(self, house: House, receiver: Operated, partner_names: list[str]) -> None:
        self._house, self._receiver, self._partners = house, receiver, partner_names

    def kinds(self) -> list[Kind]:
        house = self._house
        return [
            Kind("kill a web", RESTART, lambda by: self._killed(by.choice(WEBS))),
            Kind("kill both webs", RESTART, lambda by: self._killed(*WEBS)),
            Kind("kill a worker", RESTART, lambda by: self._killed(by.choice(WORKERS)), loses_results=True),
            Kind("kill both workers", RESTART, lambda by: self._killed(*WORKERS), loses_results=True),
            Kind("kill a beat", RESTART, lambda by: self._killed(by.choice(BEATS))),
            Kind("kill both beats", OUTAGE, lambda by: self._killed(*BEATS)),
            Kind("kill all of ours", RESTART, lambda by: self._killed(*house.commands), loses_results=True),
            Kind("freeze a web", LONGER_THAN_A_LEASE, lambda by: self._frozen(by.choice(WEBS))),
            Kind("freeze a worker", LONGER_THAN_A_LEASE, lambda by: self._frozen(by.choice(WORKERS)), loses_results=True),
            Kind("freeze a beat", LONGER_THAN_A_LEASE, lambda by: self._frozen(by.choice(BEATS))),
            Kind("flush the broker", AT_ONCE, lambda by: self._flushed()),
            Kind("kill the broker", OUTAGE, lambda by: self._server_killed(house.valkey, "valkey")),
            Kind("hang the broker", OUTAGE, lambda by: self._server_frozen(house.valkey, "valkey")),
            Kind("kill the database", OUTAGE, lambda by: self._server_killed(house.mariadb, "mariadb"), loses_results=True),
            Kind("hang the database", OUTAGE, lambda by: self._server_frozen(house.mariadb, "mariadb"), loses_results=True),
            Kind("reset connections", AT_ONCE, lambda by: self._reset(), loses_results=True),
            Kind("swallow packets", OUTAGE, lambda by: self._swallowed(), loses_results=True),
            Kind("silence partners", LONGER_THAN_A_LEASE, lambda by: self._dark("silence", by)),
            Kind("refuse at partners", LONGER_THAN_A_LEASE, lambda by: self._dark("refuse", by)),
        ]  # fmt: skip

    @contextmanager
    def _killed(self, *names: str) -> Iterator[str]:
        self._house.kill(names)
        try:
            yield ", ".join(names)
        finally:
            self._house.restart(names)

    @contextmanager
    def _frozen(self, name: str) -> Iterator[str]:
        self._house.freeze(name)
        try:
            yield name
        finally:
            self._house.thaw(name)

    @contextmanager
    def _flushed(self) -> Iterator[str]:
        self._house.valkey.flush()
        yield "valkey"

    @contextmanager
    def _server_killed(self, server: Server, name: str) -> Iterator[str]:
        server.stop(signal.SIGKILL)
        try:
            yield name
        finally:
            server.start()

    @contextmanager
    def _server_frozen(self, server: Server, name: str) -> Iterator[str]:
        server.signal(signal.SIGSTOP)
        try:
            yield name
        finally:
            server.signal(signal.SIGCONT)

    @contextmanager
    def _reset(self) -> Iterator[str]:
        count = self._house.proxy.ask("reset")["connections"] + self._receiver.ask("reset")["connections"]
        yield f"{count} connections"

    @contextmanager
    def _swallowed(self) -> Iterator[str]:
        self._house.proxy.ask("hold")
        try:
            yield "database, broker and web"
        finally:
            self._house.proxy.ask("pass")

    @contextmanager
    def _dark(self, how: str, by: random.Random) -> Iterator[str]:
        names = sorted(by.sample(self._partners, by.randint(1, 3)))
        self._receiver.ask(how, partners=names)
        try:
            yield ", ".join(names)
        finally:
            self._receiver.ask("recover", partners=names)


class Conductor:
    """Deals the faults and writes down each of them."""

    def __init__(self, kinds: list[Kind], seed: int, ledger: Ledger) -> None:
        self.done: list[Fault] = []
        self._ledger = ledger
        self.now = "calm"
        self._kinds = kinds
        self._random = random.Random(f"{seed} faults")
        # Never set: the harness waits for time to pass, and an interrupt ends that.
        self._never = threading.Event()

    def conduct(self, until: float) -> None:
        """One fault after another; none begins after ``until`` (monotonic)."""
        while True:
            for kind in self._random.sample(self._kinds, len(self._kinds)):
                self._never.wait(self._random.uniform(*CALM_SECONDS))
                if time.monotonic() >= until:
                    return
                self._do(kind)

    def _do(self, kind: Kind) -> None:
        seconds = self._random.uniform(*kind.seconds)
        began = time.time()
        with kind.begin(self._random) as target:
            self.now = f"{kind.name} ({target})"
            self._never.wait(seconds)
        fault = Fault(kind=kind.name, target=target, began=began, ended=time.time())
        self.done.append(fault)
        self._ledger.write(fault)
        self._ledger.flush()
        self.now = "calm"
