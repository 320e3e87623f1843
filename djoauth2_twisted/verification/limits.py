"""Limits for each address, so that no address uses up a shared resource."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..bounded_dict import BoundedDict
from ..errors import ConfigurationError, TemporarilyUnavailable, TooManyRequests

#: For how many addresses there is a bucket. Beyond that, the one counted longest ago is dropped.
MAX_ADDRESSES = 10_000


class FairSemaphore:
    """A semaphore whose slots go to the waiting addresses in turn.

    An address that asks for many slots does not keep the others waiting.

    :param total: how many slots there are.
    :param per_address: how many of them one address may hold at once.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self._free = total
        self._per_address = per_address
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()
        self._dealing = False

    def acquire(self, address: str) -> Deferred[None]:
        """Wait for a slot. If the Deferred is cancelled, it fails with `TemporarilyUnavailable`."""

        def leave(waiting: Deferred[None]) -> None:
            queue = self._waiting[address]
            queue.remove(waiting)
            if not queue:
                del self._waiting[address]
            waiting.errback(TemporarilyUnavailable())

        waiting: Deferred[None] = Deferred(leave)
        self._waiting.setdefault(address, deque()).append(waiting)
        self._deal()
        return waiting

    def release(self, address: str) -> None:
        """Return a slot of an address."""
        self._free += 1
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]
        self._deal()

    def _deal(self) -> None:
        """Give the free slots to the waiting addresses, one to each, in rounds."""
        # A callback may release its slot at once. This check prevents a deep recursion.
        if self._dealing:
            return
        self._dealing = True
        try:
            while self._free and (address := self._next()) is not None:
                queue = self._waiting.pop(address)
                waiting = queue.popleft()
                if queue:
                    self._waiting[address] = queue
                self._free -= 1
                self._taken[address] += 1
                waiting.callback(None)
        finally:
            self._dealing = False

    def _next(self) -> str | None:
        return next((each for each in self._waiting if self._taken[each] < self._per_address), None)


class UnknownTokens:
    """Counts the unknown tokens of each address in a leaky bucket.

    :param clock: provides IReactorTime.
    :param per_minute: the size of a bucket, and how much leaks from it in a minute; None for no limit.
    :raises ConfigurationError: ``per_minute`` is below 1.
    """

    def __init__(self, clock: IReactorTime, per_minute: int | None) -> None:
        if per_minute is not None and per_minute < 1:
            raise ConfigurationError("unknown_per_minute must be at least 1, or None for any number")
        self._clock = clock
        self._limit = per_minute
        self._levels: BoundedDict[str, tuple[float, float]] = BoundedDict(MAX_ADDRESSES)

    def check(self, address: str) -> None:
        """Check that the bucket of an address has room.

        :raises TooManyRequests: it is full.
        """
        if self._limit is None:
            return
        # How much must leak before there is room for one more.
        excess = self._level(address, self._limit) + 1 - self._limit
        if excess > 0:
            raise TooManyRequests(retry_after=math.ceil(excess * 60 / self._limit))

    def count(self, address: str) -> bool:
        """Count an unknown token. Returns True if this token fills the bucket of the address."""
        if self._limit is None:
            return False
        before = self._level(address, self._limit)
        self._levels.set(address, (before + 1, self._clock.seconds()))
        return before + 1 <= self._limit < before + 2

    def _level(self, address: str, limit: int) -> float:
        level, since = self._levels.get(address) or (0.0, 0.0)
        passed: float = max(0.0, self._clock.seconds() - since)
        return max(0.0, level - passed * limit / 60)
