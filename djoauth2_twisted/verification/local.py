"""An `ITokenVerifier` that uses a token store in this process, and caches access tokens."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..cache import Cache
from ..credentials import digest
from ..interfaces import IInvalidationFeed, ITokenStore, ITokenVerifier
from ..models import AccessToken
from ..protocol.bearer import check_token

_T = TypeVar("_T", str, tuple[str, ...])


@implementer(ITokenVerifier)
class StoreVerifier:
    """Looks up access tokens, and caches them if the store provides `IInvalidationFeed`.

    :param clock: provides IReactorTime and never goes back, like `SteadyClock`.
    :param size: the most access tokens in the cache; 0 for no cache.
    """

    def __init__(self, clock: IReactorTime, tokens: ITokenStore, size: int) -> None:
        self._clock = clock
        self._tokens = tokens
        #: None where access tokens are not cached.
        self.cache = _cache_of(tokens, size) if size and IInvalidationFeed.providedBy(tokens) else None

    def recall(self, token: str) -> AccessToken | None:
        """A token that is cached and has not expired; see `IRecallingVerifier`.

        A token that is not cached is counted as a miss by `verify` alone.
        """
        if self.cache is None:
            return None
        kept = self.cache.recall(digest(token))
        if kept is None or kept.expires <= int(self._clock.seconds()):
            return None
        self.cache.hits += 1
        return kept

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Verify an access token; see `ITokenVerifier`."""

        def judge(found: AccessToken | None) -> AccessToken:
            return check_token(found, scopes, int(self._clock.seconds()))

        key, cache = digest(token), self.cache
        if cache is None:
            return self._tokens.find_access_token(key).addCallback(judge)
        kept = cache.recall(key)
        if kept is None:
            return cache.look_up(key, self._find).addCallback(judge)
        cache.hits += 1
        return execute(judge, kept)

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
