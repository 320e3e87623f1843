"""How often one place may fail before it is told to wait."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import Any

from attrs import frozen

from ..credentials import digest
from ..errors import TooManyRequests
from ..interfaces import IRegistry

#: So many places that have to wait are remembered; beyond that, the first of them is forgotten.
MOST_PLACES = 10_000


class Throttle:
    """Counts failures by place, as a bucket that leaks.

    The count is the registry's, so that all processes share it. Each knows by itself only who has to
    wait, and learns of it by a failure: then a place has failed too often, whoever else it asked.

    :param clock: provides IReactorTime.
    :param kind: tells this throttle's places from another's.
    :param per_minute: how many failures a place has at once, and how many a minute takes from it.
    """

    def __init__(self, clock: Any, registry: IRegistry, kind: str, per_minute: int) -> None:
        self._clock = clock
        self._registry = registry
        self._kind = kind
        self._limit = per_minute
        self._waiting: OrderedDict[bytes, float] = OrderedDict()

    def check(self, *place: str) -> None:
        """Raise TooManyRequests where a place has to wait."""
        key = self._key(place)
        left = self._waiting.get(key, 0.0) - self._clock.seconds()
        if left > 0:
            raise TooManyRequests(retry_after=math.ceil(left))
        self._waiting.pop(key, None)

    async def failed(self, *place: str) -> bool:
        """Count a failure. True where it was one too many, which by `check` could not be known yet."""
        key, now = self._key(place), int(self._clock.seconds())
        level = await self._registry.count_failure(key, now, self._limit)
        if level >= self._limit:
            self._waiting[key] = now + (level - self._limit + 1) * 60 / self._limit
            if len(self._waiting) > MOST_PLACES:
                self._waiting.popitem(last=False)
        return level > self._limit

    def _key(self, place: tuple[str, ...]) -> bytes:
        return digest(json.dumps([self._kind, *place]))


@frozen
class Throttles:
    """Of one address with one name, and of one address altogether."""

    by_name: Throttle
    by_address: Throttle

    def check(self, address: str, name: str) -> None:
        """Raise TooManyRequests where either has to wait."""
        self.by_name.check(address, name)
        self.by_address.check(address)

    async def failed(self, address: str, name: str) -> None:
        """Count a failure of both. Raise TooManyRequests where it was one too many."""
        too_many = await self.by_name.failed(address, name)
        too_many |= await self.by_address.failed(address)
        if too_many:
            self.check(address, name)
