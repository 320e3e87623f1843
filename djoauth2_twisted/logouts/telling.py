"""A token store that keeps notices for the clients before it ends grants."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from zope.interface import alsoProvides

from ..interfaces import ITokenStore
from .notices import Logouts


def telling(tokens: ITokenStore, logouts: Logouts) -> ITokenStore:
    """A token store that tells clients of the grants of a user that an action ends.

    The actions are `revoke_grant`, `revoke_grants` of a named user, and `end_refresh_tokens`. Where all
    grants of a client, or all grants at all are revoked, no notice is kept.
    """
    if not logouts.is_on:
        return tokens
    store = _Telling(tokens, logouts)
    alsoProvides(store, ITokenStore)
    return cast("ITokenStore", store)


class _Telling:
    """The verbs of a token store, three of them with a notice before."""

    def __init__(self, tokens: ITokenStore, logouts: Logouts) -> None:
        self._tokens, self._logouts = tokens, logouts
        vars(self).update({name: getattr(tokens, name) for name in ITokenStore.names()})
        self.revoke_grant = self._revoke_grant
        self.revoke_grants = self._revoke_grants
        self.end_refresh_tokens = self._end_refresh_tokens

    def _revoke_grant(self, grant_id: str) -> Deferred[bool]:
        async def revoke() -> bool:
            grant = await self._tokens.find_grant(grant_id)
            if grant is not None:
                await self._logouts.grant_ended(grant)
            return await self._tokens.revoke_grant(grant_id)

        return Deferred.fromCoroutine(revoke())

    def _revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        async def revoke() -> int:
            if username is not None and scope is None:
                await self._logouts.user_ended(username, client_id)
            return await self._tokens.revoke_grants(username, client_id, scope)

        return Deferred.fromCoroutine(revoke())

    def _end_refresh_tokens(self, username: str) -> Deferred[Any]:
        async def end() -> None:
            await self._logouts.user_ended(username)
            await self._tokens.end_refresh_tokens(username)

        return Deferred.fromCoroutine(end())
