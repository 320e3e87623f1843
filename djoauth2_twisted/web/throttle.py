"""Limits on failures and attempts. Beyond a limit, requests get 429 (RFC 6585, section 4)."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from ..bounded_dict import BoundedDict
from ..credentials import digest
from ..errors import TooManyRequests
from ..interfaces import IRegistry
from ..messages import Message
from ..models import Limit

#: The largest number of throttle keys that a process remembers as waiting. Beyond it, the oldest is
#: forgotten.
MAX_KEYS = 10_000

#: The key of one count: the kind of action, then the values that identify its sender, such as an address
#: and a username.
ThrottleKey = tuple[str, ...]


def _digest_of(throttle_key: ThrottleKey) -> bytes:
    return digest(json.dumps(throttle_key))


# What each kind of throttle key counts, for the log.
_COUNTED = {
    "secret": "repetitions of one wrong secret of this client from this address",
    "client": "wrong secrets of this client from this address",
    "clients": "failed client authentications from this address",
    "introspection": "unknown tokens of this client from this address",
    "guess": "wrong passwords for this name from this address",
    "guess from an address": "wrong passwords from this address",
    "guess at an account": "wrong passwords for this account",
    "guess after login": "wrong passwords in the account's own pages from this address",
    "guess at an account after login": "wrong passwords in the account's own pages",
    "guess with a device": "wrong passwords in this browser",
    "code": "wrong codes of this user from this address",
    "code at an account": "wrong codes of this user",
    "code with a device": "wrong codes in this browser",
    "code with devices": "wrong codes of this user in known browsers",
    "login": "logins of this user from this address",
}


def _reason(kind: str) -> str:
    return f"too many {_COUNTED.get(kind, kind)}"


def too_many(seconds: int) -> Message:
    """The message that a user has to wait.

    :param seconds: for how long.
    """
    return Message(
        "There were too many attempts. Please wait %(num)s second, then try again.",
        "There were too many attempts. Please wait %(num)s seconds, then try again.",
        seconds,
    )


class _Waiting:
    """The throttle keys that have to wait, as far as this process knows."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until: BoundedDict[bytes, float] = BoundedDict(MAX_KEYS)

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, key: bytes, until: float) -> None:
        self._until.set(key, until)

    def check(self, key: bytes, kind: str) -> None:
        """Raise TooManyRequests where a throttle key has to wait."""
        left = (self._until.get(key) or 0.0) - self._clock.seconds()
        if left > 0:
            raise TooManyRequests(retry_after=math.ceil(left), reason=_reason(kind))
        self._until.discard(key)


class Throttle:
    """Counts failures by throttle key, in a leaky bucket.

    The registry keeps the count, so that all processes share it. A process itself remembers only which
    keys have to wait. It learns of one by a failure that it counts, also where other processes counted
    the failures before.

    :param kind: separates the throttle keys of this throttle from those of another.
    :param per_minute: how many failures a key may have at once, and how many are forgotten each minute.
    """

    def __init__(self, clock: IReactorTime, registry: IRegistry, kind: str, per_minute: int) -> None:
        self._clock = clock
        self._registry = registry
        self._kind = kind
        self._limit = per_minute
        self._waiting = _Waiting(clock)

    def check(self, *throttle_key: str) -> None:
        """Raise TooManyRequests where this process knows that a throttle key has to wait."""
        # Usually no key has to wait. Then the digest of this key is not needed.
        if self._waiting:
            self._waiting.check(_digest_of((self._kind, *throttle_key)), self._kind)

    async def failed(self, *throttle_key: str) -> bool:
        """Count a failure. Returns whether it exceeds the limit, which `check` could not know yet."""
        return await self.failed_also({self: throttle_key})

    async def failed_also(self, failures: Mapping[Throttle, ThrottleKey]) -> bool:
        """Count a failure of each of these throttles in one step. Returns whether one exceeds its limit.

        :param failures: the key of the failure at each throttle of this registry.
        """
        now = int(self._clock.seconds())
        keys = {_digest_of((each._kind, *key)): each for each, key in failures.items()}
        limits = {key: Limit(each._limit) for key, each in keys.items()}
        levels = await self._registry.count_failures(limits, now)
        exceeded = [each._learn(key, levels[key], now) for key, each in keys.items()]
        return any(exceeded)

    def _learn(self, key: bytes, level: float, now: int) -> bool:
        """Remember whether a throttle key has to wait. Returns whether its level exceeds the limit."""
        if level >= self._limit:
            self._waiting.add(key, now + (level - self._limit + 1) * 60 / self._limit)
        return level > self._limit


def _no_secrets() -> BoundedDict[bytes, bool]:
    return BoundedDict(MAX_KEYS)


@frozen
class Throttles:
    """Limits on the failed authentications of clients.

    Many clients may share an address: that of a proxy, an office or a Unix socket. Too many failures at
    a shared address delay only further failures; requests that succeed are answered.

    A client may run on several machines that share an address. If one of them has a wrong secret and
    sends it again and again, only this secret has to wait. A client that guesses never sends the same
    secret twice.

    :param by_secret: for an address with a client and a secret.
    :param by_name: for an address with a client: how many different secrets it may send.
    :param by_address: for an address with all clients.
    """

    by_secret: Throttle
    by_name: Throttle
    by_address: Throttle
    #: The digests of wrong secrets that this process has counted in `by_name`.
    _counted: BoundedDict[bytes, bool] = field(factory=_no_secrets, init=False)

    def check(self, address: str, name: str, secret: str) -> None:
        """Raise TooManyRequests where a client has to wait at an address, or this secret has to."""
        self.by_name.check(address, name)
        self.by_secret.check(address, name, secret)

    async def failed(self, address: str, name: str, secret: str) -> None:
        """Count a failure. Raise TooManyRequests where it exceeds a limit."""
        self.by_address.check(address)
        failures = {self.by_secret: (address, name, secret), self.by_address: (address,)}
        sent = _digest_of((address, name, secret))
        if sent not in self._counted:
            self._counted.set(sent, True)
            failures[self.by_name] = (address, name)
        if await self.by_address.failed_also(failures):
            self.check(address, name, secret)
            self.by_address.check(address)


class Attempts:
    """Counts attempts when they begin, so that aborted attempts count, and simultaneous ones too.

    The registry keeps the count, as for `Throttle`. An attempt that exceeds a limit is not counted.
    """

    def __init__(self, clock: IReactorTime, registry: IRegistry) -> None:
        self._clock = clock
        self._registry = registry
        self._waiting = _Waiting(clock)

    def check(self, throttle_keys: Collection[ThrottleKey]) -> None:
        """Raise TooManyRequests where this process knows that one of the keys has to wait."""
        for throttle_key in throttle_keys:
            self._waiting.check(_digest_of(throttle_key), throttle_key[0])

    async def begin(self, limits: Mapping[ThrottleKey, Limit]) -> None:
        """Count an attempt for each throttle key.

        :param limits: the limit of each key.
        :raises TooManyRequests: the attempt exceeds at least one of the limits.
        """
        self.check(limits)
        now = int(self._clock.seconds())
        keys = {_digest_of(throttle_key): limit for throttle_key, limit in limits.items()}
        kinds = {_digest_of(throttle_key): throttle_key[0] for throttle_key in limits}
        waits = await self._registry.begin_attempt(keys, now)
        for key, seconds in waits.items():
            self._waiting.add(key, now + seconds)
        if waits:
            longest = max(waits, key=waits.__getitem__)
            reason = _reason(kinds[longest])
            raise TooManyRequests(retry_after=math.ceil(waits[longest]), reason=reason)

    async def give_back(self, throttle_keys: Collection[ThrottleKey]) -> None:
        """Take an attempt back out of the counts, because it succeeded."""
        await self._registry.give_back([_digest_of(throttle_key) for throttle_key in throttle_keys])
