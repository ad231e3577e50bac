"""Names whose answers change, and the proof by canaries and by the guard's own record that nothing else is connected to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries.transport.egress import Egress
from deliveries.transport.engine import Engine
from notifier.policy.addresses import forbidden_address
from notifier.policy.destination import TargetError, target
from notifier.policy.exchange import FailureKind
from tests.integration.transport.sending import PATIENCE_SECONDS, Sender, new_engine, outgoing
from tests.support.raw_server import OK, RawServer, answering
from tests.support.rebinding import RebindingServer

# The stand-in for a public address: what the partner's rules open. Everything else on this machine is the inside.
OUTSIDE = ("127.0.0.2/32",)


class Canaries:
    """Listeners inside that nobody must ever connect to."""

    def __init__(self, stack: ExitStack) -> None:
        self.inside = [
            stack.enter_context(RawServer(answering(OK), host=host)) for host in ("127.0.0.1", "::1", "127.0.0.3")
        ]

    @property
    def connections(self) -> int:
        return sum(server.connections for server in self.inside)


@pytest.fixture
def canaries() -> Iterator[Canaries]:
    with ExitStack() as stack:
        yield Canaries(stack)


@contextmanager
def _engine(server: RebindingServer, egress: Egress = Egress()) -> Iterator[Engine]:
    engine = new_engine(look_up=server.look_up, egress=egress)
    try:
        yield engine
    finally:
        engine.stop()


def test_a_name_that_turns_inside_between_two_requests_is_refused(canaries: Canaries) -> None:
    """Permitted at the first attempt, inside at the second: the answer that was checked is the one that is used."""
    for canary in canaries.inside:
        answers = [["127.0.0.2"], [str(ip_address(canary._host))], ["127.0.0.2"]]
        exchanges = []
        with RebindingServer({"rebind.test": answers}) as server:
            for _ in answers:
                with _engine(server) as engine:  # a new one each time, which keeps no answer
                    exchanges.append(Sender(engine).send(canary.url(host="rebind.test"), cidrs=OUTSIDE))
        first, second, third = exchanges

        # Nobody listens outside on that port; what matters is where it was tried.
        assert (first.failure, third.failure) == (FailureKind.CONNECTION_REFUSED, FailureKind.CONNECTION_REFUSED)
        assert second.failure is FailureKind.ADDRESS_BLOCKED
        assert second.maybe_sent is False
    assert canaries.connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "::1"],
        ["127.0.0.2", "::ffff:127.0.0.1"],
        ["127.0.0.2", "169.254.169.254"],
        ["127.0.0.2", "10.0.0.1"],
        ["127.0.0.2", "64:ff9b::7f00:1"],
        ["127.0.0.2"] * 20 + ["0.0.0.0"],
    ],
)
def test_an_answer_with_one_address_inside_is_refused_whole(canaries: Canaries, answer: list[str]) -> None:
    with RebindingServer({"mixed.test": [answer]}) as server, _engine(server) as engine:
        exchanges = [Sender(engine).send(canary.url(host="mixed.test"), cidrs=OUTSIDE) for canary in canaries.inside]

    assert {exchange.failure for exchange in exchanges} == {FailureKind.ADDRESS_BLOCKED}
    assert canaries.connections == 0


def test_a_kept_connection_is_not_used_under_rules_that_forbid_it(sender: Sender) -> None:
    """Another partner's requests, or the same partner's after its list has changed, go by the same name."""
    with RawServer(answering(OK)) as partner:
        opened = sender.send(partner.url("/opened"))
        refused = sender.send(partner.url("/refused"), cidrs=())

    assert opened.status == 200
    assert refused.failure is FailureKind.ADDRESS_BLOCKED
    assert [received.line for received in partner.requests] == [b"POST /opened HTTP/1.1"]


class Record(logging.Handler):
    """Every socket that the guard opened."""

    def __init__(self) -> None:
        super().__init__()
        self.connects: list[tuple[str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("connect "):
            address, port = record.args  # type: ignore[misc]  # the guard's own line
            self.connects.append((str(address), int(str(port))))


@pytest.fixture
def record() -> Iterator[Record]:
    guard = logging.getLogger("deliveries.transport.guard")
    handler, level = Record(), guard.level
    guard.addHandler(handler)
    guard.setLevel(logging.DEBUG)
    yield handler
    guard.removeHandler(handler)
    guard.setLevel(level)


# Nothing here is publicly routable, so that whatever is tried stays on this machine.
_INSIDE = st.one_of(
    st.sampled_from(
        ["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1", "::", "0.0.0.0", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "fe80::1",
         "::ffff:127.0.0.1", "::ffff:127.0.0.2", "::127.0.0.2", "64:ff9b::127.0.0.2", "2002:7f00:2::", "224.0.0.1", "255.255.255.255"]
    ),
    st.integers(0, 2**24 - 1).map(lambda low: str(ip_address(0x7F000000 | low))),
    st.integers(0, 2**32 - 1).map(lambda low: f"fc00::{low >> 16:x}:{low & 0xFFFF:x}"),
)  # fmt: skip
_CIDRS = st.lists(
    st.sampled_from(["127.0.0.2/32", "127.0.0.0/30", "::1/128", "127.128.0.0/9", "169.254.169.254/32"]), max_size=3
)
_DENIED = st.lists(st.sampled_from(["127.0.0.3/32", "127.200.0.0/16", "::1/128"]), max_size=2)
_HOSTS = st.one_of(
    st.just("name.test"),
    _INSIDE.map(lambda address: f"[{address}]" if ":" in address else address),
    st.sampled_from(["localhost", "127.1", "0x7f.1", "2130706433", "127.0.0.1.", "NAME.test.", "user@name.test", "na%6de.test"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    host=_HOSTS, answers=st.lists(_INSIDE, min_size=1, max_size=4), cidrs=_CIDRS, denied=_DENIED, owned=st.booleans()
)
def test_no_accepted_url_reaches_a_socket_outside_the_allowed_set(
    record: Record, canaries: Canaries, host: str, answers: list[str], cidrs: list[str], denied: list[str], owned: bool
) -> None:
    """The guard's record of every socket is the oracle; the canaries are the second witness."""
    port = canaries.inside[0].port
    try:
        url = target(f"http://{host}:{port}/").url
    except TargetError:
        return
    record.connects.clear()
    seen = canaries.connections
    egress = Egress(deny_cidrs=tuple(denied), is_own_listener=lambda address, at: owned and at == port)
    engine = new_engine(look_up=lambda name: tuple(answers), egress=egress)
    try:
        engine.submit(outgoing(url, total=0.5, cidrs=tuple(cidrs))).result(PATIENCE_SECONDS)
    finally:
        engine.stop()

    for address, at in record.connects:
        assert at == port
        assert not owned
        assert forbidden_address(ip_address(address), cidrs, denied) is None
    if "name" in url:
        refused = owned or any(forbidden_address(ip_address(answer), cidrs, denied) for answer in answers)
        assert {address for address, _ in record.connects} <= ({*answers} if not refused else set())
    if not record.connects:
        assert canaries.connections == seen
