"""How often one place may fail before it is told to wait."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from attrs import define

from ..errors import TooManyRequests

#: So many places are remembered; beyond that, those that failed longest ago are forgotten.
MOST_PLACES = 10_000


@define
class _Bucket:
    failures: float
    since: float


class Throttle:
    """Counts failures by place, as a bucket that leaks.

    :param clock: provides IReactorTime.
    :param per_minute: how many failures a place has at once, and how many a minute takes from it.
    """

    def __init__(self, clock: Any, per_minute: int) -> None:
        self._clock = clock
        self._limit = per_minute
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def check(self, place: Hashable) -> None:
        """Raise TooManyRequests where a place has failed too often."""
        bucket = self._buckets.get(place)
        if bucket is None:
            return
        excess = self._level(bucket) + 1 - self._limit
        if excess > 0:
            raise TooManyRequests(retry_after=math.ceil(excess * 60 / self._limit))

    def failed(self, place: Hashable) -> None:
        """Count a failure."""
        bucket = self._buckets.pop(place, None)
        level = self._level(bucket) if bucket else 0.0
        self._buckets[place] = _Bucket(level + 1, self._clock.seconds())
        if len(self._buckets) > MOST_PLACES:
            self._buckets.popitem(last=False)

    def succeeded(self, place: Hashable) -> None:
        """Forget the failures of a place that has proved itself."""
        self._buckets.pop(place, None)

    def _level(self, bucket: _Bucket) -> float:
        leaked = (self._clock.seconds() - bucket.since) * self._limit / 60
        return float(max(0.0, bucket.failures - leaked))
