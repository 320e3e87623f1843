"""Buckets that count failures and attempts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...interfaces import IThrottles
from ...models import Limit
from ...protocol import attempts
from .tables import Tables


@implementer(IThrottles)
class MemoryThrottles(Tables):
    """`IThrottles` in memory."""

    def count_failures(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        levels = {key: level + 1 for key, level in self._levels(limits, now).items()}
        self._put(levels, now)
        return succeed(levels)

    def _put(self, levels: Mapping[bytes, float], now: int) -> None:
        for key, level in levels.items():
            _, since = self._buckets.get(key, (0.0, now))
            self._buckets[key] = level, attempts.updated(since, now)

    def _levels(self, limits: Mapping[bytes, Limit], now: int) -> dict[bytes, float]:
        stored = {key: self._buckets.get(key, (0.0, now)) for key in limits}
        return {key: attempts.level(*stored[key], now, limits[key]) for key in limits}

    def begin_attempt(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        levels = self._levels(limits, now)
        waits = attempts.waits(levels, limits)
        if not waits:
            self._put({key: level + 1 for key, level in levels.items()}, now)
        return succeed(waits)

    def give_back(self, throttle_keys: Collection[bytes]) -> Deferred[None]:
        for key in throttle_keys:
            if key in self._buckets:
                level, since = self._buckets[key]
                self._buckets[key] = (max(0.0, level - 1), since)
        return succeed(None)

    def prune_failures(self, before: int, limit: int) -> Deferred[int]:
        old = [key for key, (_, since) in self._buckets.items() if since < before][:limit]
        for key in old:
            del self._buckets[key]
        return succeed(len(old))
