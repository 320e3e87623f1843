"""Scopes."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...interfaces import IScopes
from ...models import Scope
from .tables import Tables, add, delete, update


@implementer(IScopes)
class MemoryScopes(Tables):
    """`IScopes` in memory."""

    def add_scope(self, scope: Scope) -> Deferred[None]:
        return maybeDeferred(add, self._scopes, scope.name, scope, "scope")

    def find_scopes(self, names: tuple[str, ...]) -> Deferred[dict[str, Scope]]:
        return succeed({name: self._scopes[name] for name in names if name in self._scopes})

    def update_scope(self, scope: Scope) -> Deferred[None]:
        return maybeDeferred(update, self._scopes, scope.name, scope, "scope")

    def delete_scope(self, name: str) -> Deferred[None]:
        return maybeDeferred(self._delete_scope, name)

    def _delete_scope(self, name: str) -> None:
        delete(self._scopes, name, "scope")
        for client in self._clients.values():
            if client.scopes is not None and name in client.scopes:
                allowed = tuple(scope for scope in client.scopes if scope != name)
                self._clients[client.client_id] = attrs.evolve(client, scopes=allowed)
        self._client_feed.publish(None)

    def scopes(self) -> Deferred[list[Scope]]:
        return succeed(sorted(self._scopes.values(), key=lambda scope: scope.name))
