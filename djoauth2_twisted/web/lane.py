"""The lane in which costly requests begin, so that many of them hardly delay any other."""

from __future__ import annotations

from collections import deque
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How many requests of a lane are under way at once.
MAX_INSIDE = 8

#: While requests wait, one begins after each pause, in seconds. Two threads check fewer passwords.
PAUSE = 0.02


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
    """Lets requests begin: a few at once, and the others one by one, with a pause between them.

    The addresses that requests come from take turns::

        with await lane.enter(address) as place:
            ...

    So the other requests find the reactor and the store free most of the time, however many wait here.
    """

    _reactor: IReactorTime
    _inside: int = 0
    # Dictionaries keep the order: the first address is the next one.
    _waiting: dict[str, deque[Deferred[Place]]] = field(factory=dict)
    _pause: IDelayedCall | None = None

    def enter(self, address: str) -> Deferred[Place]:
        """Wait for a place. A Deferred that is cancelled gives it up.

        :param address: where the request comes from.
        """
        if not self._waiting and self._inside < MAX_INSIDE:
            return succeed(self._place())
        waiting: Deferred[Place] = Deferred(partial(self._give_up, address))
        self._waiting.setdefault(address, deque()).append(waiting)
        self._wait()
        return waiting

    def left(self) -> None:
        """A request has left the lane."""
        self._inside -= 1
        self._wait()

    def _wait(self) -> None:
        if self._waiting and self._inside < MAX_INSIDE and self._pause is None:
            self._pause = self._reactor.callLater(PAUSE, self._begin_next)

    def _begin_next(self) -> None:
        self._pause = None
        if self._waiting:
            self._next().callback(self._place())
        self._wait()

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
