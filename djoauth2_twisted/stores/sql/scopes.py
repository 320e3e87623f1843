"""`IScopes` on SQL: the table ``djoauth2_scope``, and the allow-lists of clients."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import IScopes
from ...models import Scope
from . import partitions, schema, statements
from .database import OnDatabase


@implementer(IScopes)
class SQLScopes(OnDatabase):
    """The scopes. Each verb is one step; the steps are the functions below the class."""

    def add_scope(self, scope: Scope) -> Deferred[None]:
        return self.database.write(statements.insert, _scope, statements.row_of(scope), key=scope.name)

    def find_scopes(self, names: tuple[str, ...]) -> Deferred[dict[str, Scope]]:
        return self.database.read(_find_scopes, names)

    def update_scope(self, scope: Scope) -> Deferred[None]:
        changes = statements.row_of(scope)
        return self.database.write(statements.update, _scope.c.name, scope.name, changes, key=scope.name)

    def delete_scope(self, name: str) -> Deferred[None]:
        return self.database.write(_delete_scope, name, key=name)

    def scopes(self) -> Deferred[list[Scope]]:
        return self.database.read(_scopes)


_scope = schema.scope
_client = schema.client


def _find_scopes(connection: sa.Connection, names: tuple[str, ...]) -> dict[str, Scope]:
    rows = connection.execute(sa.select(_scope).where(_scope.c.name.in_(names)))
    return {row.name: Scope(row.name, row.description) for row in rows}


def _scopes(connection: sa.Connection) -> list[Scope]:
    rows = connection.execute(sa.select(_scope).order_by(_scope.c.name))
    return [Scope(row.name, row.description) for row in rows]


def _delete_scope(connection: sa.Connection, name: str) -> None:
    statements.delete(connection, _scope.c.name, name)
    clients = sa.select(_client.c.client_id, _client.c.scopes)
    # All steps lock in one order, so that no two of them wait for each other.
    in_order = clients.order_by(_client.c.client_id).with_for_update()
    for row in connection.execute(in_order).all():
        if row.scopes is not None and name in row.scopes:
            allowed = [scope for scope in row.scopes if scope != name]
            changed = sa.update(_client).where(_client.c.client_id == row.client_id)
            connection.execute(changed.values(scopes=allowed))
    partitions.note_clients(connection)
