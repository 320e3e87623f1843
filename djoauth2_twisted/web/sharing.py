"""What the connections of a site share: the turns of the reactor, and memory."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: The pause between two pipelined requests, in seconds. They take at most a third of the reactor's time.
PAUSE = 0.002


class Sharing(Protocol):
    """A connection of a site, as `Turns` and `Memory` see it."""

    def rested(self) -> bool:
        """A turn of the reactor has passed since an answer. Returns whether another request waits."""

    def take_turn(self) -> None:
        """Begin the next request."""

    def drop(self) -> None:
        """End at once, and free all memory."""


class Turns:
    """Decides when pipelined requests of a site begin: one after another, with a pause between.

    The first request of a quiet connection begins when it arrives. A request that is sent before the
    answer to the one before waits here, whichever connection it is on, so that all other connections are
    served between two such requests.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        # Dictionaries keep the order, and forget a connection at once.
        self._resting: dict[Sharing, None] = {}
        self._queue: dict[Sharing, None] = {}
        self._wake_up: IDelayedCall | None = None
        self._turn: IDelayedCall | None = None

    def rest(self, connection: Sharing) -> None:
        """A request was answered. No other of this connection begins in this turn of the reactor."""
        self._resting[connection] = None
        if self._wake_up is None:
            self._wake_up = self._reactor.callLater(0, self._wake)

    def wait(self, connection: Sharing) -> None:
        """A request waits to begin."""
        self._queue[connection] = None
        if self._turn is None:
            self._turn = self._reactor.callLater(PAUSE, self._take)

    def leave(self, connection: Sharing) -> None:
        """A connection is lost."""
        self._resting.pop(connection, None)
        self._queue.pop(connection, None)

    def _wake(self) -> None:
        self._wake_up = None
        resting, self._resting = self._resting, {}
        for connection in resting:
            if connection.rested():
                self.wait(connection)

    def _take(self) -> None:
        self._turn = None
        if self._queue:
            connection = next(iter(self._queue))
            del self._queue[connection]
            connection.take_turn()
        # A connection whose request was answered at once comes back only after it has rested.
        if self._queue and self._turn is None:
            self._turn = self._reactor.callLater(PAUSE, self._take)


class Memory:
    """How much memory the connections of a site hold: requests, and answers that are not read.

    Each connection has its own bounds. If all together hold too much, the one that holds most is
    dropped; of two that hold the same, the one that has done nothing for longer.

    :param most: in bytes.
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
        # A connection that became a WebSocket is gone without notice.
        self._total = sum(self._held.values())
        while self._total > self._most:
            largest = max(self._held, key=self._held.__getitem__)
            held = self._held.pop(largest)
            self._total -= held
            self._log.warn("Dropped a connection that held {held} bytes, the most of all", held=held)
            largest.drop()
