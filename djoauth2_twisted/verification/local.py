"""An `ITokenVerifier` that uses a token store in this process, and caches access tokens."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from functools import lru_cache
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..bounded_dict import BoundedDict
from ..cache import Cache
from ..credentials import digest
from ..errors import InvalidToken
from ..interfaces import IInvalidationFeed, ITokenStore, ITokenVerifier
from ..models import AccessToken
from ..protocol.bearer import check_token

_T = TypeVar("_T", str, tuple[str, ...])


#: How long an unknown token is remembered, in seconds. Until then the store is not asked for it again.
UNKNOWN_SECONDS = 10


@implementer(ITokenVerifier)
class StoreVerifier:
    """Looks up access tokens, and caches them if the store provides `IInvalidationFeed`.

    A token that the store does not know is remembered, too. No token ever begins to be valid after
    somebody has sent it: it is random, and issued once it is stored. Only a restored database may know
    it.

    :param clock: provides IReactorTime and never goes back, like `SteadyClock`.
    :param size: the most access tokens in the cache, and the most unknown tokens; 0 for no cache.
    """

    def __init__(self, clock: IReactorTime, tokens: ITokenStore, size: int) -> None:
        self._clock = clock
        self._tokens = tokens
        self._size = size
        #: None where access tokens are not cached.
        self.cache: Cache[bytes, AccessToken] | None = None
        if size and IInvalidationFeed.providedBy(tokens):
            self.cache = _cache_of(tokens, size)
            tokens.subscribe(self._forget_unknown)
        #: Until when a token is taken to be unknown, by its digest.
        self._unknown: BoundedDict[bytes, int] = BoundedDict(size)

    def recall(self, token: str) -> AccessToken | None:
        """A token that is cached; see `IRecallingVerifier`.

        A token that is not cached is counted as a miss by `verify` alone.
        """
        return None if self.cache is None else self._recall(self.cache, digest(token))

    def _recall(self, cache: Cache[bytes, AccessToken], key: bytes) -> AccessToken | None:
        kept, now = cache.recall(key), int(self._clock.seconds())
        if kept is None:
            until = self._unknown.get(key)
            if until is None or until <= now or not cache.is_current():
                return None
        cache.hits += 1
        if kept is None or kept.expires <= now:
            raise InvalidToken()
        return kept

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Verify an access token; see `ITokenVerifier`."""
        cache, key = self.cache, digest(token)
        # If all is forgotten before the store answers, the answer goes to what was forgotten.
        unknown = self._unknown

        def judge(found: AccessToken | None) -> AccessToken:
            now = int(self._clock.seconds())
            if found is None and cache is not None:
                unknown.set(key, now + UNKNOWN_SECONDS)
            return check_token(found, scopes, now)

        if cache is None:
            return self._tokens.find_access_token(key).addCallback(judge)
        try:
            kept = self._recall(cache, key)
        except InvalidToken:
            return fail()
        if kept is not None:
            return execute(judge, kept)
        return cache.look_up(key, self._find).addCallback(judge)

    def _forget_unknown(self, partitions: Collection[Hashable] | None) -> None:
        """Forget the unknown tokens if the database may be another one, as after a restore."""
        if partitions is None:
            self._unknown = BoundedDict(self._size)

    def _find(self, key: bytes) -> Deferred[AccessToken | None]:
        return self._tokens.find_access_token(key).addCallback(_with_shared_values)


@lru_cache(maxsize=1024)
def _shared(value: _T) -> _T:
    """The same object for equal values, so that cached tokens do not have a copy each."""
    return value


def _with_shared_values(found: AccessToken | None) -> AccessToken | None:
    if found is None:
        return None
    return attrs.evolve(found, client_id=_shared(found.client_id), scopes=_shared(found.scopes))


def _cache_of(feed: IInvalidationFeed, size: int) -> Cache[bytes, AccessToken]:
    """A cache of access tokens by their digests."""

    def partition_of(token: AccessToken) -> Hashable:
        return feed.partition(token.grant_id)

    cache: Cache[bytes, AccessToken] = Cache(feed.is_current, partition_of, size)
    feed.subscribe(cache.invalidate)
    return cache
