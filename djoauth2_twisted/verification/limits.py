"""Limits for each address, so that none uses up what all of them share."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import Any

from twisted.internet.defer import Deferred

from ..bounded_dict import BoundedDict
from ..errors import TemporarilyUnavailable, TooManyRequests

#: How many addresses are counted. Beyond that, the one that was counted longest ago is forgotten.
MAX_ADDRESSES = 10_000


class FairSemaphore:
    """A semaphore whose slots go to the waiting addresses in turn.

    An address that asks for many slots does not keep the others waiting.

    :param total: how many slots there are.
    :param of_one: how many of them one address may hold at once.
    """

    def __init__(self, total: int, of_one: int) -> None:
        self._free = total
        self._of_one = of_one
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()
        self._dealing = False

    def acquire(self, address: str) -> Deferred[None]:
        """Wait for a slot. Where the Deferred is cancelled it fails with `TemporarilyUnavailable`."""

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
        """Give back a slot."""
        self._free += 1
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]
        self._deal()

    def _deal(self) -> None:
        """Deal out the free slots, one to each address that waits, then the next round."""
        # A callback may release its slot at once. Without this check, calls would nest without end.
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
        return next((each for each in self._waiting if self._taken[each] < self._of_one), None)


class UnknownTokens:
    """Counts the unknown tokens that each address has sent, by leaky buckets.

    :param clock: provides IReactorTime.
    :param per_minute: how many an address may send at once, and how many a minute takes from that;
        None for any number.
    """

    def __init__(self, clock: Any, per_minute: int | None) -> None:
        self._clock = clock
        self._limit = per_minute
        self._levels: BoundedDict[str, tuple[float, float]] = BoundedDict(MAX_ADDRESSES)

    def check(self, address: str) -> None:
        """Raise TooManyRequests where an address has sent too many."""
        if self._limit is None:
            return
        # How much has to leak before there is room for one more.
        excess = self._level(address, self._limit) + 1 - self._limit
        if excess > 0:
            raise TooManyRequests(retry_after=math.ceil(excess * 60 / self._limit))

    def count(self, address: str) -> bool:
        """Count an unknown token. True where the address has to wait from this one on."""
        if self._limit is None:
            return False
        before = self._level(address, self._limit)
        self._levels.set(address, (before + 1, self._clock.seconds()))
        return before + 1 <= self._limit < before + 2

    def _level(self, address: str, limit: int) -> float:
        level, since = self._levels.get(address) or (0.0, 0.0)
        passed: float = max(0.0, self._clock.seconds() - since)
        return max(0.0, level - passed * limit / 60)
