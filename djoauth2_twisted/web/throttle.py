"""How often one place may fail before it is told to wait."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..bounded_dict import BoundedDict
from ..credentials import digest
from ..errors import TooManyRequests
from ..interfaces import IRegistry
from ..models import Limit
from ..protocol.addresses import throttle_address
from .reading import address_of

#: So many places that have to wait are remembered; beyond that, the first of them is forgotten.
MAX_KEYS = 10_000

#: What is limited, in words: a kind of thing, and who does it from where.
ThrottleKey = tuple[str, ...]


def throttle_key_of(request: IRequest) -> str:
    """The place on the network that a request came from, for whatever is limited by address."""
    return throttle_address(address_of(request))


def _key(place: ThrottleKey) -> bytes:
    return digest(json.dumps(place))


class _Waiting:
    """The places that have to wait, as far as this process knows.

    :param clock: provides IReactorTime.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until: BoundedDict[bytes, float] = BoundedDict(MAX_KEYS)

    def add(self, key: bytes, until: float) -> None:
        self._until.set(key, until)

    def check(self, key: bytes) -> None:
        """Raise TooManyRequests where a place has to wait."""
        left = (self._until.get(key) or 0.0) - self._clock.seconds()
        if left > 0:
            raise TooManyRequests(retry_after=math.ceil(left))
        self._until.discard(key)


class Throttle:
    """Counts failures by place, as a bucket that leaks.

    The count is the registry's, so that all processes share it. Each knows by itself only who has to
    wait, and learns of it by a failure: then a place has failed too often, whoever else it asked.

    :param clock: provides IReactorTime.
    :param kind: tells this throttle's places from another's.
    :param per_minute: how many failures a place has at once, and how many a minute takes from it.
    """

    def __init__(self, clock: IReactorTime, registry: IRegistry, kind: str, per_minute: int) -> None:
        self._clock = clock
        self._registry = registry
        self._kind = kind
        self._limit = per_minute
        self._waiting = _Waiting(clock)

    def check(self, *place: str) -> None:
        """Raise TooManyRequests where a place has to wait."""
        self._waiting.check(_key((self._kind, *place)))

    async def failed(self, *place: str) -> bool:
        """Count a failure. True where it was one too many, which by `check` could not be known yet."""
        key, now = _key((self._kind, *place)), int(self._clock.seconds())
        level = await self._registry.count_failure(key, now, self._limit)
        if level >= self._limit:
            self._waiting.add(key, now + (level - self._limit + 1) * 60 / self._limit)
        return level > self._limit


@frozen
class Throttles:
    """Of one address with one name, and of one address altogether.

    An address may be that of many: a proxy, an office, a Unix socket. What fails there too often only
    makes failures wait; what is good gets through.
    """

    by_name: Throttle
    by_address: Throttle

    def check(self, address: str, name: str) -> None:
        """Raise TooManyRequests where a name has to wait at an address."""
        self.by_name.check(address, name)

    async def failed(self, address: str, name: str) -> None:
        """Count a failure of both. Raise TooManyRequests where it was one too many."""
        self.by_address.check(address)
        too_many = await self.by_name.failed(address, name)
        too_many |= await self.by_address.failed(address)
        if too_many:
            self.by_name.check(address, name)
            self.by_address.check(address)


class Attempts:
    """Counts attempts when they begin, so that one that is broken off counts, and many at once do.

    The count is the registry's, as that of `Throttle`. An attempt that is one too many is not counted.

    :param clock: provides IReactorTime.
    """

    def __init__(self, clock: IReactorTime, registry: IRegistry) -> None:
        self._clock = clock
        self._registry = registry
        self._waiting = _Waiting(clock)

    def check(self, places: Collection[ThrottleKey]) -> None:
        """Raise TooManyRequests where one of some places is known to have to wait."""
        for place in places:
            self._waiting.check(_key(place))

    async def begin(self, limits: Mapping[ThrottleKey, Limit]) -> None:
        """Count an attempt at each place. Raise TooManyRequests where it is one too many for any."""
        self.check(limits)
        now = int(self._clock.seconds())
        keys = {_key(place): limit for place, limit in limits.items()}
        waits = await self._registry.begin_attempt(keys, now)
        for key, seconds in waits.items():
            self._waiting.add(key, now + seconds)
        if waits:
            raise TooManyRequests(retry_after=math.ceil(max(waits.values())))

    async def give_back(self, places: Collection[ThrottleKey]) -> None:
        """Count an attempt that began no longer: it was a good one."""
        await self._registry.give_back([_key(place) for place in places])
