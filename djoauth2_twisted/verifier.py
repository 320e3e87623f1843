"""`ITokenVerifier` over a store of our own, and a cache of what was looked up there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from typing import Any

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from .credentials import digest
from .interfaces import IEndings, ITokenStore, ITokenVerifier
from .models import AccessToken
from .protocol.bearer import check_token


@implementer(ITokenVerifier)
class StoreVerifier:
    """Looks tokens up, and keeps them until they end where the store can tell when that is.

    :param clock: provides IReactorTime; one that never goes back, as `SteadyClock`.
    :param size: how many are kept at most; 0 for none.
    """

    def __init__(self, clock: Any, tokens: ITokenStore, size: int) -> None:
        self._clock = clock
        self._tokens = tokens
        self._cache = Cache(tokens, size) if size and IEndings.providedBy(tokens) else None

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        def judge(found: AccessToken | None) -> AccessToken:
            return check_token(found, scopes, int(self._clock.seconds()))

        key, cache = digest(token), self._cache
        if cache is None:
            return self._tokens.find_access_token(key).addCallback(judge)
        kept = cache.get(key)
        if kept is not None:
            return execute(judge, kept)
        told = cache.told
        return self._tokens.find_access_token(key).addCallback(cache.put, key, told).addCallback(judge)


class Cache:
    """Access tokens by digest, those least recently used going first.

    It says nothing while the store is not sure that it has told of all that has ended.
    """

    def __init__(self, endings: IEndings, size: int) -> None:
        self._endings = endings
        self._size = size
        self._tokens: OrderedDict[bytes, AccessToken] = OrderedDict()
        self._parts: dict[Hashable, set[bytes]] = {}
        #: How often something was told; by part, when last; and the last time that it might be any.
        self.told = 0
        self._ended: dict[Hashable, int] = {}
        self._any_ended = 0
        endings.listen(self._tell)

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, key: bytes) -> AccessToken | None:
        """A token that is known not to have ended."""
        if not self._endings.is_sure() or key not in self._tokens:
            return None
        self._tokens.move_to_end(key)
        return self._tokens[key]

    def put(self, found: AccessToken | None, key: bytes, told: int) -> AccessToken | None:
        """Keep what was looked up, unless it has ended since.

        :param told: the value of `told` when the look-up began.
        """
        if found is None:
            # It has ended, and that is still to be told: who has been refused once is not let in again.
            if key in self._tokens:
                self._drop(key, self._tokens.pop(key))
            return None
        part = self._endings.part_of(found.grant_id)
        if told >= self._any_ended and told >= self._ended.get(part, 0):
            self._tokens[key] = found
            self._tokens.move_to_end(key)
            self._parts.setdefault(part, set()).add(key)
            if len(self._tokens) > self._size:
                self._drop(*self._tokens.popitem(last=False))
        return found

    def _drop(self, key: bytes, token: AccessToken) -> None:
        part = self._endings.part_of(token.grant_id)
        keys = self._parts[part]
        keys.remove(key)
        if not keys:
            del self._parts[part]

    def _tell(self, parts: Collection[Hashable] | None) -> None:
        self.told += 1
        if parts is None:
            self._tokens.clear()
            self._parts.clear()
        else:
            for part in parts:
                self._ended[part] = self.told
                for key in self._parts.pop(part, ()):
                    del self._tokens[key]
        if parts is None or len(self._ended) > self._size:
            # What is looked up just now is not kept, wherever it belongs: so this is bounded, too.
            self._ended.clear()
            self._any_ended = self.told
