"""The queue in which costly requests begin, so that many of them delay others little."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How many requests of a queue are under way at once.
MAX_INSIDE = 8

#: While requests wait, one begins after each pause, in seconds. Two threads check fewer passwords.
PAUSE = 0.02


@define(eq=False)
class Slot:
    """The right of one request to run, as a context manager that gives it back."""

    _queue: AdmissionQueue
    _is_held: bool = True

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Make room for the next request. A second call does nothing."""
        if self._is_held:
            self._is_held = False
            self._queue.released()


@define(eq=False)
class AdmissionQueue:
    """Lets requests begin: a few at once, and the others one by one, with a pause between them.

    The addresses that requests come from take turns::

        with await queue.enter(address) as slot:
            ...

    So the other requests find the reactor and the store free most of the time, however many wait here.

    :param is_full: whether no request may begin for now, because too many wait for what comes later.
    """

    _reactor: IReactorTime
    _is_full: Callable[[], bool] = lambda: False
    _inside: int = 0
    # Dictionaries keep the order: the first address is the next one.
    _waiting: dict[str, deque[Deferred[Slot]]] = field(factory=dict)
    _pause: IDelayedCall | None = None

    def enter(self, address: str) -> Deferred[Slot]:
        """Wait for a slot. A Deferred that is cancelled gives up its turn.

        :param address: where the request comes from.
        """
        if not self._waiting and self._inside < MAX_INSIDE and not self._is_full():
            return succeed(self._slot())
        waiting: Deferred[Slot] = Deferred(partial(self._give_up, address))
        self._waiting.setdefault(address, deque()).append(waiting)
        self._wait()
        return waiting

    def released(self) -> None:
        """A slot was given back."""
        self._inside -= 1
        self._wait()

    def _wait(self) -> None:
        if self._waiting and self._inside < MAX_INSIDE and self._pause is None:
            self._pause = self._reactor.callLater(PAUSE, self._begin_next)

    def _begin_next(self) -> None:
        self._pause = None
        if self._waiting and not self._is_full():
            self._next().callback(self._slot())
        self._wait()

    def _slot(self) -> Slot:
        self._inside += 1
        return Slot(self)

    def _next(self) -> Deferred[Slot]:
        address = next(iter(self._waiting))
        queue = self._waiting.pop(address)
        waiting = queue.popleft()
        if queue:
            self._waiting[address] = queue
        return waiting

    def _give_up(self, address: str, waiting: Deferred[Slot]) -> None:
        queue = self._waiting[address]
        queue.remove(waiting)
        if not queue:
            del self._waiting[address]
