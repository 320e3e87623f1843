"""The lane in which costly requests begin, so that many of them hardly delay any other."""

from __future__ import annotations

from collections import deque
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How many requests of the lane are under way at once.
MAX_INSIDE = 8

#: How long requests of the lane may begin in one turn of the reactor, in seconds. The last one that
#: begins within this time goes on until it waits for something.
SHARE = 0.002


@define(eq=False)
class Place:
    """The place of one request in a lane, as a context manager that leaves it."""

    _lane: Lane
    _is_inside: bool = True

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Make room for the next request. It may be called again, to no effect."""
        if self._is_inside:
            self._is_inside = False
            self._lane.left()


@define(eq=False)
class Lane:
    """Lets a few requests begin at a time. The addresses that they come from take turns::

        with await lane.enter(address) as place:
            ...

    In each turn of the reactor, the lane takes only a share of the time. So a request outside of it
    waits for a few requests of the lane at most, also in the queue of a store.
    """

    _reactor: IReactorTime
    _inside: int = 0
    # Dictionaries keep the order: the first address is the next one.
    _waiting: dict[str, deque[Deferred[Place]]] = field(factory=dict)
    _next_turn: IDelayedCall | None = None
    #: When requests of the lane began to use the current turn.
    _since: float = 0.0

    def enter(self, address: str) -> Deferred[Place]:
        """Wait for a place. A Deferred that is cancelled gives it up.

        :param address: where the request comes from.
        """
        if self._next_turn is None:
            self._begin_turn()
        if not self._waiting and self._has_room():
            return succeed(self._place())
        waiting: Deferred[Place] = Deferred(partial(self._give_up, address))
        self._waiting.setdefault(address, deque()).append(waiting)
        return waiting

    def left(self) -> None:
        """A request has left the lane."""
        self._inside -= 1
        if self._waiting and self._next_turn is None:
            self._begin_turn()

    def _begin_turn(self) -> None:
        self._since = self._reactor.seconds()
        self._next_turn = self._reactor.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._next_turn = None
        self._since = self._reactor.seconds()
        while self._waiting and self._has_room():
            self._next().callback(self._place())
        if self._waiting and self._inside < MAX_INSIDE and self._next_turn is None:
            self._begin_turn()

    def _has_room(self) -> bool:
        return self._inside < MAX_INSIDE and self._reactor.seconds() - self._since < SHARE

    def _place(self) -> Place:
        self._inside += 1
        return Place(self)

    def _next(self) -> Deferred[Place]:
        address = next(iter(self._waiting))
        queue = self._waiting.pop(address)
        waiting = queue.popleft()
        if queue:
            self._waiting[address] = queue
        return waiting

    def _give_up(self, address: str, waiting: Deferred[Place]) -> None:
        queue = self._waiting[address]
        queue.remove(waiting)
        if not queue:
            del self._waiting[address]
