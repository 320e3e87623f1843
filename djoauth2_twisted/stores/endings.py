"""What a store tells of access tokens that have ended: the part of `IEndings` that all stores share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable
from functools import partial
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigurationError

#: How long the last contact with the store counts, in seconds, from its beginning on. What was revoked
#: elsewhere is refused here after this time at the latest.
SURE_FOR = 0.07

#: Between two contacts, in seconds: while somebody wants to be sure, and while nobody does.
INTERVAL = 0.025
IDLE_INTERVAL = 1.0

#: For so long after somebody wanted to be sure, the next is expected.
AWAKE = 1.0

#: Between two tries where the store does not answer.
RETRY = 0.25

#: A clock that never goes back, and where there is such a one goes on while the machine sleeps.
steady_seconds = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

#: Parts of the grants in which access tokens have ended; None: it may be any.
Parts = Collection[Hashable] | None


class Endings:
    """Tells what has ended here at once, and what has ended elsewhere by asking again and again.

    :param reactor: provides IReactorTime; None where there is nothing to ask.
    :param ask: a Deferred of what has ended since it was last asked. None: only this process ends
        anything, and what it ends is always told.
    :param seconds: the clock by which it is sure.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any = None,
        ask: Callable[[], Deferred[Any]] | None = None,
        seconds: Callable[[], float] = steady_seconds,
    ) -> None:
        self._reactor = reactor
        self._ask = ask
        self._seconds = seconds
        self._listeners: list[Callable[[Parts], None]] = []
        self._running = False
        self._asking = False
        self._next: IDelayedCall | None = None
        #: When the last contact began, and when somebody last wanted to be sure.
        self._contact = self._used = -inf
        #: Whether something may have been missed.
        self._missed = True
        self._warned = False

    def listen(self, told: Callable[[Parts], None]) -> None:
        """See `IEndings`."""
        self._listeners.append(told)

    def tell(self, parts: Parts) -> None:
        """Tell all who listen."""
        for told in self._listeners:
            told(parts)

    def is_sure(self) -> bool:
        """See `IEndings`. Whoever never calls it costs nothing."""
        if self._ask is None:
            return True
        now = self._seconds()
        asleep, self._used = now - self._used > AWAKE, now
        if asleep:
            self._wake()
        return now - self._contact < SURE_FOR

    def start(self) -> None:
        """The store can be asked from now on."""
        self._running = True

    def stop(self) -> None:
        """It can be asked no more."""
        self._running = False
        self._contact = self._used = -inf
        self._missed = True
        self._cancel()

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _wake(self) -> None:
        if self._running and not self._asking:
            self._cancel()
            self._poll()

    def _poll(self) -> None:
        self._next = None
        self._asking = True
        assert self._ask is not None
        begun = self._seconds()
        self._ask().addCallbacks(self._answered, self._failed, callbackArgs=(begun,))

    def _answered(self, parts: Parts, begun: float) -> None:
        self._asking = False
        if not self._running:
            return
        if self._missed:
            parts, self._missed = None, False
        if parts is None or parts:
            self.tell(parts)
        self._contact = begun
        self._wait(INTERVAL)

    def _failed(self, failure: Failure) -> None:
        # An answer that came too late is lost. Outages are told of by whoever is asked.
        self._asking = False
        self._missed = True
        if failure.check(ConfigurationError) and not self._warned:
            self._warned = True
            self._log.warn("Access tokens are not cached: {error}", error=failure.value)
        if self._running:
            self._wait(RETRY)

    def _wait(self, interval: float) -> None:
        if self._seconds() - self._used > AWAKE:
            interval = IDLE_INTERVAL
        self._next = self._reactor.callLater(interval, self._poll)
