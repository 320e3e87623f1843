"""`IRegistry` on SQL. Each verb is one step; the steps are the functions below the class."""

from __future__ import annotations

from typing import Any

import attrs
import sqlalchemy as sa
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists, NotFound
from ...interfaces import IRegistry
from ...models import Client, Page, ResourceOwner, Scope, Session, User
from . import schema
from .database import Database
from .tokens import profile_of


@implementer(IRegistry)
@frozen
class SQLRegistry:
    """Clients, scopes, users and logins in the tables named ``djoauth2_...``."""

    database: Database

    def add_client(self, client: Client) -> Deferred[None]:
        return self.database.write(_add, schema.client, _row(client))

    def find_client(self, client_id: str) -> Deferred[Client | None]:
        return self.database.read(_find_client, client_id)

    def update_client(self, client: Client) -> Deferred[None]:
        return self.database.write(_update, schema.client.c.client_id, _row(client))

    def delete_client(self, client_id: str) -> Deferred[None]:
        return self.database.write(_delete, schema.client.c.client_id, client_id)

    def clients(self, page: Page) -> Deferred[list[Client]]:
        return self.database.read(_clients, page)

    def add_scope(self, scope: Scope) -> Deferred[None]:
        return self.database.write(_add, schema.scope, _row(scope))

    def find_scopes(self, names: tuple[str, ...]) -> Deferred[dict[str, Scope]]:
        return self.database.read(_find_scopes, names)

    def update_scope(self, scope: Scope) -> Deferred[None]:
        return self.database.write(_update, schema.scope.c.name, _row(scope))

    def delete_scope(self, name: str) -> Deferred[None]:
        return self.database.write(_delete_scope, name)

    def scopes(self) -> Deferred[list[Scope]]:
        return self.database.read(_scopes)

    def add_user(self, user: User) -> Deferred[None]:
        return self.database.write(_add, schema.user, _row(user))

    def find_user(self, username: str) -> Deferred[User | None]:
        return self.database.read(_find_user, username)

    def update_user(self, user: User) -> Deferred[None]:
        return self.database.write(_update, schema.user.c.username, _row(user))

    def delete_user(self, username: str) -> Deferred[None]:
        return self.database.write(_delete_user, username)

    def users(self, page: Page) -> Deferred[list[User]]:
        return self.database.read(_users, page)

    def add_session(self, session: Session) -> Deferred[None]:
        row = {
            "digest": session.digest,
            "username": session.owner.username,
            "profile": profile_of(session.owner),
            "expires": session.expires,
        }
        return self.database.write(_add, schema.session, row)

    def find_session(self, session_digest: bytes, now: int) -> Deferred[Session | None]:
        return self.database.read(_find_session, session_digest, now)

    def end_session(self, session_digest: bytes) -> Deferred[None]:
        return self.database.write(_end_session, session_digest)

    def end_sessions(self, username: str) -> Deferred[None]:
        return self.database.write(_end_sessions, username)

    def count_failure(self, place: bytes, now: int, per_minute: int) -> Deferred[float]:
        return self.database.write(_count_failure, place, now, per_minute)

    def prune_failures(self, before: int, limit: int) -> Deferred[int]:
        table = schema.failure
        return self.database.write(_prune, table.c.place, table.c.since < before, limit)

    def acquire_lease(self, name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        def taken(failure: Failure) -> bool:
            failure.trap(AlreadyExists)
            return False

        return self.database.write(_acquire_lease, name, holder, expires, now).addErrback(taken)

    def prune_sessions(self, now: int, limit: int) -> Deferred[int]:
        table = schema.session
        return self.database.write(_prune, table.c.digest, table.c.expires <= now, limit)


def _row(value: Client | Scope | User) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in _fields(value)}


def _fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name)) for field in attrs.fields(type(value))]


def _add(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    connection.execute(sa.insert(table), row)


def _update(connection: sa.Connection, key: sa.Column[str], row: dict[str, Any]) -> None:
    changes = {name: value for name, value in row.items() if name != key.name}
    done = connection.execute(sa.update(key.table).where(key == row[key.name]).values(changes))
    if done.rowcount != 1:
        raise NotFound("there is none of that name")


def _delete(connection: sa.Connection, key: sa.Column[str], name: str) -> None:
    if connection.execute(sa.delete(key.table).where(key == name)).rowcount != 1:
        raise NotFound("there is none of that name")


_CLIENT = sa.select(schema.client).where(
    schema.client.c.client_id == sa.bindparam("client_id", type_=schema.Sought)
)
_USER = sa.select(schema.user).where(
    schema.user.c.username == sa.bindparam("username", type_=schema.Sought)
)
_SESSION = sa.select(schema.session).where(
    schema.session.c.digest == sa.bindparam("digest"), schema.session.c.expires > sa.bindparam("now")
)


def _find_client(connection: sa.Connection, client_id: str) -> Client | None:
    row = connection.execute(_CLIENT, {"client_id": client_id}).first()
    return _to_client(row) if row else None


def _to_client(row: sa.Row[Any]) -> Client:
    values = dict(row._mapping)
    scopes = values.pop("scopes")
    return Client(
        redirect_uris=tuple(values.pop("redirect_uris")),
        scopes=None if scopes is None else tuple(scopes),
        **values,
    )


def _clients(connection: sa.Connection, page: Page) -> list[Client]:
    in_order = sa.select(schema.client).order_by(schema.client.c.name, schema.client.c.client_id)
    return [_to_client(row) for row in connection.execute(_part(in_order, page))]


def _part(query: sa.Select[Any], page: Page) -> sa.Select[Any]:
    return query.offset(page.offset).limit(page.size)


def _find_scopes(connection: sa.Connection, names: tuple[str, ...]) -> dict[str, Scope]:
    rows = connection.execute(sa.select(schema.scope).where(schema.scope.c.name.in_(names)))
    return {row.name: Scope(row.name, row.description) for row in rows}


def _scopes(connection: sa.Connection) -> list[Scope]:
    rows = connection.execute(sa.select(schema.scope).order_by(schema.scope.c.name))
    return [Scope(row.name, row.description) for row in rows]


def _delete_scope(connection: sa.Connection, name: str) -> None:
    _delete(connection, schema.scope.c.name, name)
    for row in connection.execute(sa.select(schema.client.c.client_id, schema.client.c.scopes)).all():
        if row.scopes is not None and name in row.scopes:
            allowed = [scope for scope in row.scopes if scope != name]
            connection.execute(
                sa.update(schema.client)
                .where(schema.client.c.client_id == row.client_id)
                .values(scopes=allowed)
            )


def _find_user(connection: sa.Connection, username: str) -> User | None:
    row = connection.execute(_USER, {"username": username}).first()
    return User(**row._mapping) if row else None


def _users(connection: sa.Connection, page: Page) -> list[User]:
    in_order = sa.select(schema.user).order_by(schema.user.c.username)
    return [User(**row._mapping) for row in connection.execute(_part(in_order, page))]


def _delete_user(connection: sa.Connection, username: str) -> None:
    _delete(connection, schema.user.c.username, username)
    _end_sessions(connection, username)


def _find_session(connection: sa.Connection, session_digest: bytes, now: int) -> Session | None:
    row = connection.execute(_SESSION, {"digest": session_digest, "now": now}).first()
    if row is None:
        return None
    return Session(row.digest, ResourceOwner(row.username, **row.profile), row.expires)


def _end_session(connection: sa.Connection, session_digest: bytes) -> None:
    connection.execute(sa.delete(schema.session).where(schema.session.c.digest == session_digest))


def _end_sessions(connection: sa.Connection, username: str) -> None:
    connection.execute(sa.delete(schema.session).where(schema.session.c.username == username))


_FAILURE = (
    sa.select(schema.failure).where(schema.failure.c.place == sa.bindparam("place")).with_for_update()
)


def _count_failure(connection: sa.Connection, place: bytes, now: int, per_minute: int) -> float:
    table = schema.failure
    row = connection.execute(_FAILURE, {"place": place}).first()
    if row is None:
        connection.execute(sa.insert(table), {"place": place, "level": 1.0, "since": now})
        return 1.0
    level: float = max(0.0, row.level - max(0, now - row.since) * per_minute / 60) + 1
    connection.execute(sa.update(table).where(table.c.place == place).values(level=level, since=now))
    return level


def _acquire_lease(connection: sa.Connection, name: str, holder: str, expires: int, now: int) -> bool:
    table = schema.lease
    free = (table.c.holder == holder) | (table.c.expires <= now)
    renewed = sa.update(table).where(table.c.name == name, free).values(holder=holder, expires=expires)
    if connection.execute(renewed).rowcount == 1:
        return True
    connection.execute(sa.insert(table), {"name": name, "holder": holder, "expires": expires})
    return True


def _prune(
    connection: sa.Connection, key: sa.Column[bytes], over: sa.ColumnElement[bool], limit: int
) -> int:
    found = list(connection.scalars(sa.select(key).where(over).limit(limit)))
    if found:
        connection.execute(sa.delete(key.table).where(key.in_(found)))
    return len(found)
