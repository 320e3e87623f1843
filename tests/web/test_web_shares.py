"""The time of each turn of the reactor, shared between the addresses of clients.

A turn is one step of the clock, and a request takes as long as its resource moves the clock on.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from web_driver import Wire

from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.web.sharing import SHARE, Shares
from djoauth2_twisted.web.site import REQUEST_DEADLINE, LimitedRequest, LimitedSite

GREEDY, OTHER = "192.0.2.9", "192.0.2.2"


class Costly(Resource):
    """Takes time, and notes the paths of its requests."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.cost = SHARE / 2
        self.begun: list[str] = []

    def render(self, request: Any) -> bytes:
        self.begun.append(request.path.decode().removeprefix("/"))
        self.clock.rightNow += self.cost
        if request.path == b"/broken":
            raise ZeroDivisionError
        return b"x"


class Bench:
    """A site with a costly resource."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.resource = Costly(self.clock)
        self.site = LimitedSite(self.resource, self.clock)
        self.wires: list[Wire] = []

    def send(self, path: str, peer: str = GREEDY) -> Wire:
        """Send one request on a new connection."""
        wire = Wire(self.site, peer=peer)
        wire.send(f"GET /{path} HTTP/1.1\r\nHost: as.example\r\n\r\n".encode())
        self.wires.append(wire)
        return wire

    def turn(self) -> list[str]:
        """Let one turn of the reactor pass. Returns the paths of the requests that began in it."""
        del self.resource.begun[:]
        # `Clock.advance` also makes the calls that these calls add, which belong to the next turn.
        for call in list(self.clock.calls):
            if call.getTime() <= self.clock.seconds():
                self.clock.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        return list(self.resource.begun)


@pytest.fixture
def bench() -> Any:
    bench = Bench()
    yield bench
    for wire in bench.wires:
        wire.hang_up()


def test_requests_beyond_the_share_of_their_address_begin_in_the_next_turns(bench: Bench) -> None:
    for number in range(5):
        bench.send(f"{number}")
    assert bench.resource.begun == ["0", "1"]
    assert bench.turn() == ["2", "3"]
    assert bench.turn() == ["4"]
    assert bench.turn() == []
    assert all(wire.answer.status == 200 for wire in bench.wires)


def test_another_address_does_not_wait_behind_a_greedy_one(bench: Bench) -> None:
    for number in range(40):
        bench.send(f"{number}")
    for _ in range(5):
        bystander = bench.send("other", peer=OTHER)
        assert bystander.answer.status == 200
        assert len(bench.turn()) == 2


def test_waiting_addresses_share_a_turn(bench: Bench) -> None:
    for number in range(4):
        bench.send(f"a{number}")
        bench.send(f"b{number}", peer=OTHER)
    assert bench.turn() == ["a2", "a3", "b2", "b3"]


def test_addresses_of_one_ipv6_network_have_one_share(bench: Bench) -> None:
    for number in range(3):
        bench.send(f"{number}", peer=f"2001:db8::{number + 1}")
    assert bench.resource.begun == ["0", "1"]


def test_cheap_requests_do_not_wait(bench: Bench) -> None:
    bench.resource.cost = 0.0
    for number in range(100):
        bench.send(f"{number}")
    assert len(bench.resource.begun) == 100


def test_request_of_a_client_that_has_hung_up_does_not_begin(bench: Bench) -> None:
    wires = [bench.send(f"{number}") for number in range(4)]
    wires[2].hang_up()
    assert bench.turn() == ["3"]
    bench.send("4")
    bench.send("5").hang_up()
    assert bench.turn() == []


def test_waiting_request_has_no_deadline_to_arrive(bench: Bench) -> None:
    bench.resource.cost = REQUEST_DEADLINE
    wires = [bench.send(f"{number}") for number in range(3)]
    for _ in range(3):
        bench.turn()
    assert [wire.answer.status for wire in wires] == [200, 200, 200]


def test_failure_of_a_resource_counts_as_time(bench: Bench, logged_failures: Any) -> None:
    bench.resource.cost = SHARE
    assert bench.send("broken").answer.status == 500
    bench.send("next")
    assert bench.resource.begun == ["broken"]
    assert bench.turn() == ["next"]
    assert len(logged_failures.take(ZeroDivisionError)) == 1


def test_waiting_requests_begin_when_the_server_stops(bench: Bench) -> None:
    for number in range(7):
        bench.send(f"{number}")
        bench.send(f"other {number}".replace(" ", "-"), peer=OTHER)
    Connections(bench.site).begin_all()
    assert len(bench.resource.begun) == 14


@pytest.mark.parametrize("by_its_turn", [True, False])
def test_waiting_request_that_fails_ends_its_connection_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged_failures: Any, by_its_turn: bool
) -> None:
    process = LimitedRequest._process

    def fail_once(request: LimitedRequest) -> None:
        if request.path == b"/2":
            raise ZeroDivisionError
        process(request)

    monkeypatch.setattr(LimitedRequest, "_process", fail_once)
    _, second, failing, last = [bench.send(f"{number}") for number in range(4)]
    if by_its_turn:
        assert bench.turn() == ["3"]
    else:
        Connections(bench.site).begin_all()
    assert [wire.aborted for wire in (second, failing, last)] == [False, True, False]
    assert len(logged_failures.take(ZeroDivisionError)) == 1


class Piece:
    """Work that takes a share, and may begin other work."""

    def __init__(self, bench: Bench, name: str, inner: Piece | None = None) -> None:
        self.bench, self.name, self.inner = bench, name, inner
        self.shares: Shares = bench.site.shares

    def begin(self) -> None:
        self.bench.resource.begun.append(self.name)
        self.bench.clock.rightNow += SHARE / 4
        if self.inner is not None:
            self.shares.begin(GREEDY, self.inner)

    def drop(self) -> None:
        raise AssertionError("it does not fail")


def test_all_addresses_together_have_a_limit_where_there_is_one(bench: Bench) -> None:
    """They take turns: who has begun work in this turn comes after the others in the next one."""
    shares = Shares(bench.clock, SHARE / 2)
    for address in ("a", "b", "c"):
        for number in range(2):
            shares.begin(address, Piece(bench, f"{address}{number}"))
    assert bench.resource.begun == ["a0", "a1"]
    assert [bench.turn() for _ in range(3)] == [["b0", "b1"], ["c0", "c1"], []]


def test_work_is_counted_by_the_clock_that_was_given(bench: Bench) -> None:
    """On a busy machine, that of the processor: the time of other processes is no address's."""
    clock = Clock()
    shares = Shares(clock, spent=bench.clock.seconds)
    for number in range(5):
        clock.rightNow += SHARE
        shares.begin(GREEDY, Piece(bench, f"{number}"))
    assert bench.resource.begun == ["0", "1", "2", "3"]


def test_end_of_a_turn_is_asked_for_when_half_of_a_share_was_used(bench: Bench) -> None:
    for number in range(6):
        bench.site.shares.begin(GREEDY, Piece(bench, f"{number}"))
        if number == 0:
            assert bench.turn() == []
            assert bench.clock.getDelayedCalls() == []
    assert bench.resource.begun == ["1", "2", "3"]
    assert bench.turn() == ["4", "5"]


def test_work_that_other_work_begins_counts_once(bench: Bench) -> None:
    """Bytes are decrypted, and hold a whole request."""
    for number in range(2):
        bench.site.shares.begin(GREEDY, Piece(bench, f"outer{number}", Piece(bench, f"inner{number}")))
    bench.site.shares.begin(GREEDY, Piece(bench, "next"))
    assert bench.resource.begun == ["outer0", "inner0", "outer1", "inner1"]
    assert bench.turn() == ["next"]
