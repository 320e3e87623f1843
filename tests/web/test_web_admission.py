"""The queue of logins: a few begin at a time, the addresses take turns, and each turn is short."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from djoauth2_twisted.web.admission import MAX_INSIDE, PAUSE, AdmissionQueue, Slot


class Visitors:
    """Requests that enter a queue: who is inside, in the order in which they came in."""

    def __init__(self, queue: AdmissionQueue) -> None:
        self._queue = queue
        self.inside: list[str] = []
        self.slots: list[Slot] = []

    def enter(self, address: str) -> Deferred[None]:
        """Enter from an address."""

        def begin(slot: Slot) -> None:
            self.inside.append(address)
            self.slots.append(slot)

        return self._queue.enter(address).addCallback(begin)


def test_an_idle_queue_lets_a_request_begin_at_once() -> None:
    visitors = Visitors(AdmissionQueue(Clock()))
    visitors.enter("a")
    assert visitors.inside == ["a"]


def test_only_so_many_requests_are_inside_at_once() -> None:
    """AB-03: the others begin when one of them leaves."""
    clock = Clock()
    visitors = Visitors(AdmissionQueue(clock))
    for _ in range(MAX_INSIDE + 2):
        visitors.enter("a")
    clock.advance(PAUSE)
    assert len(visitors.inside) == MAX_INSIDE
    with visitors.slots[0]:
        pass
    clock.advance(PAUSE)
    assert len(visitors.inside) == MAX_INSIDE + 1


def test_a_slot_that_is_released_twice_makes_room_once() -> None:
    clock = Clock()
    visitors = Visitors(AdmissionQueue(clock))
    for _ in range(MAX_INSIDE + 2):
        visitors.enter("a")
    visitors.slots[0].release()
    visitors.slots[0].release()
    clock.advance(PAUSE)
    clock.advance(PAUSE)
    assert len(visitors.inside) == MAX_INSIDE + 1


def test_addresses_take_turns() -> None:
    """AB-03: an address with many requests does not keep another one waiting."""
    clock = Clock()
    visitors = Visitors(AdmissionQueue(clock))
    for _ in range(MAX_INSIDE + 5):
        visitors.enter("many")
    visitors.enter("one")
    for slot in visitors.slots[:2]:
        slot.release()
    clock.advance(PAUSE)
    clock.advance(PAUSE)
    assert visitors.inside[MAX_INSIDE:] == ["many", "one"]


def test_waiting_requests_begin_one_by_one() -> None:
    """AB-03: what is not a login is served between them."""
    clock = Clock()
    visitors = Visitors(AdmissionQueue(clock))
    for _ in range(MAX_INSIDE + 3):
        visitors.enter("a")
    for slot in list(visitors.slots):
        slot.release()
    served = [len(visitors.inside)]
    for _ in range(4):
        clock.advance(PAUSE)
        served.append(len(visitors.inside))
    assert served == [MAX_INSIDE + count for count in (0, 1, 2, 3, 3)]


def test_requests_wait_while_too_many_wait_for_what_comes_later() -> None:
    """AB-03: they cost the store nothing until then."""
    clock = Clock()
    later = ["password"]
    visitors = Visitors(AdmissionQueue(clock, lambda: bool(later)))
    visitors.enter("a")
    clock.advance(PAUSE)
    assert visitors.inside == []
    later.clear()
    clock.advance(PAUSE)
    assert visitors.inside == ["a"]


def test_a_request_that_is_cancelled_leaves_the_queue() -> None:
    clock = Clock()
    visitors = Visitors(AdmissionQueue(clock))
    for _ in range(MAX_INSIDE):
        visitors.enter("a")
    failures: list[type[Exception] | None] = []
    waiting = visitors.enter("b").addErrback(
        lambda failure: failures.append(failure.check(CancelledError))
    )
    visitors.enter("c")
    waiting.cancel()
    visitors.slots[0].release()
    clock.advance(PAUSE)
    assert failures == [CancelledError]
    assert visitors.inside[MAX_INSIDE:] == ["c"]
