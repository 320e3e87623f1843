"""The lane of logins: a few begin at a time, the addresses take turns, and each turn is short."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from djoauth2_twisted.web.lane import MAX_INSIDE, PAUSE, Lane, Place


class Visitors:
    """Requests that enter a lane: who is inside, in the order in which they came in."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.inside: list[str] = []
        self.places: list[Place] = []

    def enter(self, address: str) -> Deferred[None]:
        """Enter from an address."""

        def begin(place: Place) -> None:
            self.inside.append(address)
            self.places.append(place)

        return self._lane.enter(address).addCallback(begin)


def test_an_idle_lane_lets_a_request_begin_at_once() -> None:
    visitors = Visitors(Lane(Clock()))
    visitors.enter("a")
    assert visitors.inside == ["a"]


def test_only_so_many_requests_are_inside_at_once() -> None:
    """AB-03: the others begin when one of them leaves."""
    clock = Clock()
    visitors = Visitors(Lane(clock))
    for _ in range(MAX_INSIDE + 2):
        visitors.enter("a")
    clock.advance(PAUSE)
    assert len(visitors.inside) == MAX_INSIDE
    with visitors.places[0]:
        pass
    clock.advance(PAUSE)
    assert len(visitors.inside) == MAX_INSIDE + 1


def test_a_place_that_is_left_twice_makes_room_once() -> None:
    clock = Clock()
    visitors = Visitors(Lane(clock))
    for _ in range(MAX_INSIDE + 2):
        visitors.enter("a")
    visitors.places[0].leave()
    visitors.places[0].leave()
    clock.advance(PAUSE)
    clock.advance(PAUSE)
    assert len(visitors.inside) == MAX_INSIDE + 1


def test_addresses_take_turns() -> None:
    """AB-03: an address with many requests does not keep another one waiting."""
    clock = Clock()
    visitors = Visitors(Lane(clock))
    for _ in range(MAX_INSIDE + 5):
        visitors.enter("many")
    visitors.enter("one")
    for place in visitors.places[:2]:
        place.leave()
    clock.advance(PAUSE)
    clock.advance(PAUSE)
    assert visitors.inside[MAX_INSIDE:] == ["many", "one"]


def test_waiting_requests_begin_one_by_one() -> None:
    """AB-03: what is not a login is served between them."""
    clock = Clock()
    visitors = Visitors(Lane(clock))
    for _ in range(MAX_INSIDE + 3):
        visitors.enter("a")
    for place in list(visitors.places):
        place.leave()
    served = [len(visitors.inside)]
    for _ in range(4):
        clock.advance(PAUSE)
        served.append(len(visitors.inside))
    assert served == [MAX_INSIDE + count for count in (0, 1, 2, 3, 3)]


def test_a_request_that_is_cancelled_leaves_the_queue() -> None:
    clock = Clock()
    visitors = Visitors(Lane(clock))
    for _ in range(MAX_INSIDE):
        visitors.enter("a")
    failures: list[type[Exception] | None] = []
    waiting = visitors.enter("b").addErrback(
        lambda failure: failures.append(failure.check(CancelledError))
    )
    visitors.enter("c")
    waiting.cancel()
    visitors.places[0].leave()
    clock.advance(PAUSE)
    assert failures == [CancelledError]
    assert visitors.inside[MAX_INSIDE:] == ["c"]
