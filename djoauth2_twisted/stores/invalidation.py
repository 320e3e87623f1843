"""The invalidation feed: says what caches must forget. All stores share it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable
from functools import partial
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigurationError

#: The feed is current for this time after it has begun to ask the store, in seconds. A token that
#: another process has revoked is refused here after this time at the latest.
CURRENT_FOR = 0.07

#: The time between two questions to the store while the feed is used, and while it is not, in seconds.
INTERVAL = 0.025
IDLE_INTERVAL = 1.0

#: The feed counts as used for this time after the last call of `is_current`, in seconds.
USED_FOR = 1.0

#: The time before the next question where the store did not answer, in seconds.
RETRY = 0.25

#: A clock that never goes back. Where the system has such a clock, it also runs while the machine
#: sleeps.
steady_seconds = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

#: The partitions in which access tokens or clients have become invalid; None: it may be any partition.
Partitions = Collection[Hashable] | None


class InvalidationFeed:
    """Calls the subscribers of an `IInvalidationFeed` or an `IClientFeed`.

    What this process ends, its store publishes at once. For what other processes end, the feed asks the
    store again and again while it is used.

    :param reactor: None where ``ask`` is None.
    :param ask: returns a Deferred of the partitions in which tokens have become invalid since the last
        question. None: no other process uses the store, and the feed is always current.
    :param seconds: a clock that never goes back.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime | None = None,
        ask: Callable[[], Deferred[Any]] | None = None,
        seconds: Callable[[], float] = steady_seconds,
    ) -> None:
        self._reactor = reactor
        self._ask = ask
        self._seconds = seconds
        self._subscribers: list[Callable[[Partitions], None]] = []
        self._running = False
        self._asking = False
        self._next: IDelayedCall | None = None
        #: When the last answered question was asked, and when `is_current` was last called.
        self._asked_at = self._used_at = -inf
        #: Whether an invalidation may have been missed.
        self._missed = True
        self._warned = False

    def subscribe(self, invalidate: Callable[[Partitions], None]) -> None:
        """See `IInvalidationFeed`."""
        self._subscribers.append(invalidate)

    def publish(self, partitions: Partitions) -> None:
        """Call every subscriber; see `IInvalidationFeed.subscribe`."""
        for invalidate in self._subscribers:
            invalidate(partitions)

    def is_current(self) -> bool:
        """See `IInvalidationFeed`. While it is not called, the feed asks the store once a second."""
        if self._ask is None:
            return True
        now = self._seconds()
        was_unused, self._used_at = now - self._used_at > USED_FOR, now
        if was_unused:
            self._wake()
        return now - self._asked_at < CURRENT_FOR

    def lag(self) -> float | None:
        """How long ago the last answered question was asked, in seconds.

        None where there is no question: no other process uses the store, or nothing has used the feed.
        """
        if self._ask is None or self._asked_at == -inf:
            return None
        return self._seconds() - self._asked_at

    def start(self) -> None:
        """Begin to ask the store when the feed is used."""
        self._running = True

    def stop(self) -> None:
        """Stop asking the store, and be no longer current."""
        self._running = False
        self._asked_at = self._used_at = -inf
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
        asked_at = self._seconds()
        maybeDeferred(self._ask).addCallbacks(self._answered, self._failed, callbackArgs=(asked_at,))

    def _answered(self, partitions: Partitions, asked_at: float) -> None:
        self._asking = False
        if not self._running:
            return
        if self._missed:
            partitions, self._missed = None, False
        if partitions is None or partitions:
            self.publish(partitions)
        self._asked_at = asked_at
        self._wait(INTERVAL)

    def _failed(self, failure: Failure) -> None:
        # The answer may be lost, and invalidations with it. The store itself logs its outages.
        self._asking = False
        self._missed = True
        if failure.check(ConfigurationError) and not self._warned:
            self._warned = True
            self._log.warn("Access tokens and clients are not cached: {error}", error=failure.value)
        if self._running:
            self._wait(RETRY)

    def _wait(self, interval: float) -> None:
        if self._seconds() - self._used_at > USED_FOR:
            interval = IDLE_INTERVAL
        assert self._reactor is not None
        self._next = self._reactor.callLater(interval, self._poll)
