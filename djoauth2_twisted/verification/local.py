"""An `ITokenVerifier` that uses a token store in this process, and caches access tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from functools import lru_cache
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

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
        self.cache = (
            AccessTokenCache(tokens, size) if size and IInvalidationFeed.providedBy(tokens) else None
        )

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
        kept = cache.get(key)
        if kept is not None:
            return execute(judge, kept)
        generation = cache.generation
        return (
            self._tokens.find_access_token(key)
            .addCallback(cache.put, key, generation)
            .addCallback(judge)
        )


@lru_cache(maxsize=1024)
def _shared(value: _T) -> _T:
    """The same object for equal values, so that cached tokens do not have a copy each."""
    return value


class AccessTokenCache:
    """Access tokens by digest. A full cache drops the least recently used token.

    It returns no token while the invalidation feed is not current.
    """

    def __init__(self, feed: IInvalidationFeed, size: int) -> None:
        self._feed = feed
        self._size = size
        self._tokens: OrderedDict[bytes, AccessToken] = OrderedDict()
        self._partitions: dict[Hashable, set[bytes]] = {}
        #: The number of invalidations so far; then its value at the last invalidation of each partition,
        #: and at the last invalidation of all partitions.
        self.generation = 0
        self._invalidated: dict[Hashable, int] = {}
        self._all_invalidated = 0
        #: How many look-ups the cache has answered, and how many it has not.
        self.hits = self.misses = 0
        feed.subscribe(self._invalidate)

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, key: bytes) -> AccessToken | None:
        """A cached token. It has not been invalidated; it may have expired."""
        if not self._feed.is_current() or key not in self._tokens:
            self.misses += 1
            return None
        self.hits += 1
        self._tokens.move_to_end(key)
        return self._tokens[key]

    def recall(self, key: bytes) -> AccessToken | None:
        """The same as `get`, and nothing is counted."""
        kept = self._tokens.get(key)
        if kept is None or not self._feed.is_current():
            return None
        self._tokens.move_to_end(key)
        return kept

    def put(self, found: AccessToken | None, key: bytes, generation: int) -> AccessToken | None:
        """Cache the result of a look-up, unless the token was invalidated since. Returns the result.

        :param generation: the value of `generation` when the look-up began.
        """
        if found is None:
            # The token has ended, and the feed has not said so yet. It must not be accepted again.
            if key in self._tokens:
                self._drop(key, self._tokens.pop(key))
            return None
        partition = self._feed.partition(found.grant_id)
        if generation >= self._all_invalidated and generation >= self._invalidated.get(partition, 0):
            client_id, scopes = _shared(found.client_id), _shared(found.scopes)
            self._tokens[key] = attrs.evolve(found, client_id=client_id, scopes=scopes)
            self._tokens.move_to_end(key)
            self._partitions.setdefault(partition, set()).add(key)
            if len(self._tokens) > self._size:
                self._drop(*self._tokens.popitem(last=False))
        return found

    def _drop(self, key: bytes, token: AccessToken) -> None:
        partition = self._feed.partition(token.grant_id)
        keys = self._partitions[partition]
        keys.remove(key)
        if not keys:
            del self._partitions[partition]

    def _invalidate(self, partitions: Collection[Hashable] | None) -> None:
        self.generation += 1
        if partitions is None:
            self._tokens.clear()
            self._partitions.clear()
        else:
            for partition in partitions:
                self._invalidated[partition] = self.generation
                for key in self._partitions.pop(partition, ()):
                    del self._tokens[key]
        if partitions is None or len(self._invalidated) > self._size:
            # This bounds the memory. The results of look-ups under way are then not cached.
            self._invalidated.clear()
            self._all_invalidated = self.generation
