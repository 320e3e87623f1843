"""A registry of several providers, as for an application that has its own users.

Each provider has one or more of the interfaces that `IRegistry` consists of. A registry has the rest::

    registry = compose(SQLRegistry(database), MyUsers())
"""

from __future__ import annotations

from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from zope.interface import alsoProvides
from zope.interface.interface import InterfaceClass

from ..interfaces import (
    MAX_COUNTED,
    IClientFeed,
    IClients,
    IRegistry,
    IScopes,
    ISecondFactors,
    ISessions,
    IStatistics,
    ISubjects,
    IUsers,
    check_providers,
)
from ..models import Session, Totals, User
from ..paging import by_username, entries

# The interfaces that `IRegistry` consists of.
_INTERFACES: tuple[Any, ...] = IRegistry.__bases__


def compose(registry: IRegistry, *providers: object) -> IRegistry:
    """A registry whose verbs are those of the providers, and for the rest those of another registry.

    Most verbs are called as they are. Where users and sessions have different providers, a verb that
    concerns both is several steps: `delete_user` ends the sessions after the user is deleted, and
    `find_session` looks the user up after the session. The same holds for users and second
    factors, and for users and subjects.
    `totals` counts the users page by page.

    :param registry: provides what no provider does.
    :param providers: each provides at least one of the interfaces that `IRegistry` consists of. Where
        two provide the same one, the first is used.
    :raises ValueError: a provider provides none of the interfaces; or the scopes and the clients would
        have different providers, although `delete_scope` changes both.
    :raises ConfigurationError: a provider lacks a method of its interface, or an argument of one.
    """
    for provider in providers:
        provided = [interface for interface in _INTERFACES if interface.providedBy(provider)]
        if not provided:
            raise ValueError(f"{provider!r} provides no interface of a registry")
        check_providers(*((interface, provider) for interface in provided))
    chosen: dict[InterfaceClass, Any] = {
        interface: next((each for each in providers if interface.providedBy(each)), registry)
        for interface in _INTERFACES
    }
    if chosen[IScopes] is not chosen[IClients]:
        raise ValueError("the scopes and the clients need the same provider")
    composed = _Composed(chosen)
    alsoProvides(composed, IRegistry)
    if IClientFeed.providedBy(chosen[IClients]):
        alsoProvides(composed, IClientFeed)
    return cast("IRegistry", composed)


class _Composed:
    """The verbs of each interface's provider, and the verbs that concern users and something else."""

    def __init__(self, chosen: dict[InterfaceClass, Any]) -> None:
        self._users, self._sessions = chosen[IUsers], chosen[ISessions]
        self._statistics, self._second_factors = chosen[IStatistics], chosen[ISecondFactors]
        verbs = {
            verb: getattr(provider, verb)
            for interface, provider in chosen.items()
            for verb in interface.names(all=True)
        }
        if IClientFeed.providedBy(clients := chosen[IClients]):
            verbs |= {verb: getattr(clients, verb) for verb in IClientFeed.names(all=True)}
        if self._users is not self._sessions:
            verbs["find_session"] = self._find_session
        self._subjects = chosen[ISubjects]
        same_step = (self._sessions, self._second_factors, self._subjects)
        if any(provider is not self._users for provider in same_step):
            verbs["delete_user"] = self._delete_user
        if self._users is not self._statistics:
            verbs["totals"] = self._totals
        vars(self).update(verbs)

    def _delete_user(self, username: str, keep_admin: bool = False) -> Deferred[None]:
        return Deferred.fromCoroutine(self._delete_user_and_logins(username, keep_admin))

    async def _delete_user_and_logins(self, username: str, keep_admin: bool) -> None:
        user: User | None = await self._users.find_user(username)
        await self._users.delete_user(username, keep_admin)
        await self._sessions.end_sessions(username)
        if user is not None:
            await self._second_factors.remove_second_factor(user.subject)
            await self._subjects.note_deleted(user.subject)

    def _find_session(self, session_digest: bytes, now: int) -> Deferred[Session | None]:
        return Deferred.fromCoroutine(self._session_of_user(session_digest, now))

    async def _session_of_user(self, session_digest: bytes, now: int) -> Session | None:
        session: Session | None = await self._sessions.find_session(session_digest, now)
        if session is None:
            return None
        user: User | None = await self._users.find_user(session.owner.username)
        over = user is not None and (user.disabled or user.subject != session.owner.subject)
        return None if over else session

    def _totals(self, now: int) -> Deferred[Totals]:
        return Deferred.fromCoroutine(self._totals_with_users(now))

    async def _totals_with_users(self, now: int) -> Totals:
        users = admins = 0
        async for user in entries(self._users.users, by_username, most=MAX_COUNTED + 1):
            users += 1
            admins += user.admin and not user.disabled
        totals: Totals = await self._statistics.totals(now)
        return attrs.evolve(totals, users=users, admins=admins)
