"""What the connections of a site share: the turns of the reactor, its time, and the memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: The pause between two pipelined requests, in seconds. They take at most a third of the reactor's time.
PAUSE = 0.002

#: How long the work of one address may run in one turn of the reactor, in seconds. The last piece that
#: begins within this time runs to its end.
SHARE = 0.001


class Sharing(Protocol):
    """The interface of a connection to `Turns` and `Memory`."""

    def rested(self) -> bool:
        """Begin what arrived since the last answer. Returns whether a pipelined request waits."""

    def take_turn(self) -> None:
        """Begin the next request."""

    def drop(self) -> None:
        """End the connection immediately, and free its memory."""


class Turns:
    """Decides when pipelined requests of a site begin: one after another, with a pause between.

    The first request of an idle connection begins when it arrives, and one that arrives just after an
    answer begins in the next turn of the reactor. A pipelined request, sent before the previous answer,
    waits here for its turn among all connections, so that all other connections are served between two
    such requests.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        # Dictionaries keep the order, and remove a connection in constant time.
        self._resting: dict[Sharing, None] = {}
        self._queue: dict[Sharing, None] = {}
        self._wake_up: IDelayedCall | None = None
        self._turn: IDelayedCall | None = None

    def rest(self, connection: Sharing) -> None:
        """Note an answered request: the next one of its connection begins in a later turn."""
        self._resting[connection] = None
        if self._wake_up is None:
            self._wake_up = self._reactor.callLater(0, self._wake)

    def wait(self, connection: Sharing) -> None:
        """Queue a connection whose next request waits to begin."""
        self._queue[connection] = None
        if self._turn is None:
            self._turn = self._reactor.callLater(PAUSE, self._take)

    def leave(self, connection: Sharing) -> None:
        """Remove a lost connection."""
        self._resting.pop(connection, None)
        self._queue.pop(connection, None)

    def _wake(self) -> None:
        self._wake_up = None
        resting, self._resting = self._resting, {}
        for connection in resting:
            if self._continue(connection, connection.rested):
                self.wait(connection)

    def _take(self) -> None:
        self._turn = None
        if self._queue:
            connection = next(iter(self._queue))
            del self._queue[connection]
            self._continue(connection, connection.take_turn)
        # A connection whose request was answered immediately returns only after it has rested.
        if self._queue and self._turn is None:
            self._turn = self._reactor.callLater(PAUSE, self._take)

    def _continue(self, connection: Sharing, step: Callable[[], bool | None]) -> bool:
        """Whether a step of a connection returns True. One that fails ends its connection alone."""
        try:
            return bool(step())
        except Exception:
            self._log.failure("A connection failed")
            connection.drop()
            return False


class Work(Protocol):
    """What `Shares` begins: a request that has arrived whole, or bytes that are to be decrypted."""

    def begin(self) -> None:
        """Do the work, or begin to."""

    def drop(self) -> None:
        """End the connection of the work immediately."""


class Shares:
    """Shares each turn of the reactor between the addresses that requests come from.

    The work of an address that has used its share of a turn waits for the next turn. So an address with
    many connections delays another by one share only, and the reactor is never idle while work waits.

    A call at the end of a turn costs as much as a small piece of work. So it is planned only when half
    of a share was used. The time that was used until then may be of several turns.

    :param most: how long the work of all addresses together may run in a turn, in seconds.
    :param spent: the time that work has taken so far, in seconds. By default, the reactor's clock. On a
        busy machine, that clock also counts the time of other processes.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        most: float = math.inf,
        spent: Callable[[], float] | None = None,
    ) -> None:
        self._reactor = reactor
        self._most = most
        self._seconds = reactor.seconds if spent is None else spent
        self._enough_to_ask = min(SHARE, most) / 2
        self._spent: dict[str, float] = {}
        self._spent_by_all = 0.0
        #: How long the work took that the current work has begun, in seconds.
        self._inner = 0.0
        # Dictionaries keep the order, and remove work in constant time.
        self._waiting: dict[str, dict[Work, None]] = {}
        self._next_turn: IDelayedCall | None = None

    def begin(self, address: str, work: Work) -> None:
        """Begin work in this turn if its address has time left, or else in a later turn."""
        if self._has_time(address):
            self._run(address, work)
        else:
            self._waiting.setdefault(address, {})[work] = None

    def leave(self, address: str, work: Work) -> None:
        """Remove the work for a client that has hung up."""
        waiting = self._waiting.get(address, {})
        waiting.pop(work, None)
        if not waiting:
            self._waiting.pop(address, None)

    def begin_all(self) -> None:
        """Begin all work that waits, because the server stops."""
        while self._waiting:
            address = next(iter(self._waiting))
            self._run_next(address)

    def _has_time(self, address: str) -> bool:
        return self._spent_by_all < self._most and self._spent.get(address, 0.0) < SHARE

    def _run(self, address: str, work: Work) -> None:
        outer, self._inner = self._inner, 0.0
        begun = self._seconds()
        try:
            work.begin()
        finally:
            took = self._seconds() - begun
            # Bytes that were decrypted may have begun a request, which has counted its time.
            self._spent[address] = self._spent.get(address, 0.0) + took - self._inner
            self._spent_by_all += took - self._inner
            self._inner = outer + took
            if self._spent_by_all >= self._enough_to_ask:
                self._plan_turn()

    def _plan_turn(self) -> None:
        if self._next_turn is None:
            self._next_turn = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._next_turn = None
        self._spent.clear()
        self._spent_by_all = 0.0
        for address in list(self._waiting):
            while address in self._waiting and self._has_time(address):
                self._run_next(address)
        if self._waiting:
            self._plan_turn()

    def _run_next(self, address: str) -> None:
        """Begin work that has waited. Work that fails ends its connection alone."""
        work = self._pop(address)
        try:
            self._run(address, work)
        except Exception:
            self._log.failure("A connection failed")
            work.drop()

    def _pop(self, address: str) -> Work:
        # The other addresses go first in the next turn.
        waiting = self._waiting.pop(address)
        work = next(iter(waiting))
        del waiting[work]
        if waiting:
            self._waiting[address] = waiting
        return work


class Memory:
    """The memory that the connections of a site hold: requests, and answers that are not read.

    Each connection has its own limits. If all together hold too much, the one that holds most is
    dropped; of two that hold the same, the one that has been idle for longer.

    :param most: the limit of all connections together, in bytes.
    """

    _log = Logger()

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._total = 0

    def hold(self, connection: Sharing, size: int) -> None:
        """Note how many bytes a connection holds now."""
        self._total += size - self._held.pop(connection, 0)
        if size:
            self._held[connection] = size
        if self._total > self._most:
            self._make_room()

    def _make_room(self) -> None:
        # A connection that became a WebSocket ends without a call of this object.
        self._total = sum(self._held.values())
        while self._total > self._most:
            largest = max(self._held, key=self._held.__getitem__)
            held = self._held.pop(largest)
            self._total -= held
            self._log.warn(
                "All connections held too much. The one that held most is closed: {held} bytes.",
                held=held,
            )
            largest.drop()
