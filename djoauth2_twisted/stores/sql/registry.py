"""`IRegistry` on SQL. Each verb is one step; the steps are the functions below the class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import sqlalchemy as sa
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists, ChangedMeanwhile, LastAdmin, NotFound
from ...interfaces import MAX_COUNTED, MAX_SEARCHED, IRegistry
from ...models import (
    Client,
    Event,
    Found,
    Image,
    Limit,
    Page,
    Scope,
    Session,
    Totals,
    User,
)
from . import logins, schema
from .database import Database
from .rows import profile_of


@implementer(IRegistry)
@frozen
class SQLRegistry:
    """Clients, scopes, users and logins in the tables named ``djoauth2_...``."""

    database: Database

    def add_client(self, client: Client, image: Image | None = None) -> Deferred[None]:
        return self.database.write(_add_client, _row(client), image)

    def find_client(self, client_id: str) -> Deferred[Client | None]:
        return self.database.read(_find_client, client_id)

    def update_client(
        self, client: Client, only: Collection[str] | None = None, instead_of: bytes | None = None
    ) -> Deferred[None]:
        row = _row(client, only, client_id=client.client_id)
        # It is the picture's own, whatever was known of it when the client was read.
        row.pop("image_digest", None)
        return self.database.write(_update_client, row, instead_of)

    def delete_client(self, client_id: str) -> Deferred[None]:
        return self.database.write(_delete_client, client_id)

    def set_image(self, client_id: str, image: Image | None) -> Deferred[None]:
        return self.database.write(_set_image, client_id, image)

    def find_image(self, client_id: str) -> Deferred[Image | None]:
        return self.database.read(_find_image, client_id)

    def clients(self, page: Page, search: str = "") -> Deferred[list[Client]]:
        return self.database.read(_clients, page, search)

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

    def update_user(
        self,
        user: User,
        keep_admin: bool = False,
        only: Collection[str] | None = None,
        instead_of: str | None = None,
    ) -> Deferred[None]:
        return self.database.write(_update_user, user, keep_admin, only, instead_of)

    def delete_user(self, username: str, keep_admin: bool = False) -> Deferred[None]:
        return self.database.write(_delete_user, username, keep_admin)

    def users(self, page: Page) -> Deferred[list[User]]:
        return self.database.read(_users, page)

    def search_users(
        self, text: str, after: str, limit: int, most: int = MAX_SEARCHED
    ) -> Deferred[Found]:
        return self.database.read(_search_users, text, after, limit, most)

    def add_session(self, session: Session, most: int | None = None) -> Deferred[None]:
        row = {
            "digest": session.digest,
            "username": session.owner.username,
            "profile": profile_of(session.owner),
            "expires": session.expires,
        }
        # By the name first, so that two logins of one user wait for each other here.
        return self.database.write(logins.add_session, session.owner.username, row, most)

    def find_session(self, session_digest: bytes, now: int) -> Deferred[Session | None]:
        return self.database.read(logins.find_session, session_digest, now)

    def end_session(self, session_digest: bytes) -> Deferred[None]:
        return self.database.write(logins.end_session, session_digest)

    def end_sessions(self, username: str) -> Deferred[None]:
        return self.database.write(logins.end_sessions, username)

    def count_failure(self, place: bytes, now: int, per_minute: int) -> Deferred[float]:
        return self.database.write(logins.count_failure, place, now, per_minute)

    def begin_attempt(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        return self.database.write(logins.begin_attempt, limits, now)

    def give_back(self, places: Collection[bytes]) -> Deferred[None]:
        return self.database.write(logins.give_back, places)

    def prune_failures(self, before: int, limit: int) -> Deferred[int]:
        table = schema.failure
        return self.database.write(_prune, table.c.place, table.c.since < before, limit)

    def acquire_lease(self, name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        def taken(failure: Failure) -> bool:
            failure.trap(AlreadyExists)
            return False

        return self.database.write(_acquire_lease, name, holder, expires, now).addErrback(taken)

    def prune_leases(self, now: int, limit: int) -> Deferred[int]:
        table = schema.lease
        return self.database.write(_prune, table.c.name, table.c.expires <= now, limit)

    def prune_sessions(self, now: int, limit: int) -> Deferred[int]:
        table = schema.session
        return self.database.write(_prune, table.c.digest, table.c.expires <= now, limit)

    def totals(self, now: int) -> Deferred[Totals]:
        return self.database.read(_totals, now)

    def add_event(self, event: Event) -> Deferred[None]:
        return self.database.write(_add, schema.event, _row(event))

    def events(self, page: Page) -> Deferred[list[Event]]:
        return self.database.read(_events, page)

    def prune_events(self, before: int, limit: int) -> Deferred[int]:
        table = schema.event
        return self.database.write(_prune, table.c.id, table.c.time < before, limit)

    def add_statistics(self, counts: Mapping[tuple[int, str], int]) -> Deferred[None]:
        return self.database.write(_add_statistics, counts)

    def statistics(self, since: int, hours: int) -> Deferred[dict[tuple[int, str], int]]:
        return self.database.read(_statistics, since, hours)

    def prune_statistics(self, before: int, limit: int) -> Deferred[int]:
        return self.database.write(_prune_statistics, before, limit)


def _row(
    value: Client | Event | Scope | User, only: Collection[str] | None = None, **key: str
) -> dict[str, Any]:
    row = {name: list(v) if isinstance(v, tuple) else v for name, v in _fields(value)}
    return row if only is None else {**{name: row[name] for name in only}, **key}


def _fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name)) for field in attrs.fields(type(value))]


def _add(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    connection.execute(sa.insert(table), row)


def _update(connection: sa.Connection, key: sa.Column[str], row: dict[str, Any]) -> None:
    changes = {name: value for name, value in row.items() if name != key.name}
    done = connection.execute(sa.update(key.table).where(key == row[key.name]).values(changes))
    if done.rowcount != 1:
        raise NotFound()


def _delete(connection: sa.Connection, key: sa.Column[str], name: str) -> None:
    if connection.execute(sa.delete(key.table).where(key == name)).rowcount != 1:
        raise NotFound()


def _add_client(connection: sa.Connection, row: dict[str, Any], image: Image | None) -> None:
    _add(connection, schema.client, row)
    if image is not None:
        _set_image(connection, row["client_id"], image)


def _update_client(connection: sa.Connection, row: dict[str, Any], instead_of: bytes | None) -> None:
    key = schema.client.c.client_id
    if instead_of is not None:
        secret = sa.select(schema.client.c.secret_digest).where(key == row[key.name])
        if connection.scalar(secret.with_for_update()) not in (None, instead_of):
            raise ChangedMeanwhile()
    _update(connection, key, row)


def _delete_client(connection: sa.Connection, client_id: str) -> None:
    _delete(connection, schema.client.c.client_id, client_id)
    connection.execute(sa.delete(schema.image).where(schema.image.c.client_id == client_id))


def _set_image(connection: sa.Connection, client_id: str, image: Image | None) -> None:
    client, table = schema.client, schema.image
    # The client's row first, as who deletes the client does.
    change = sa.update(client).where(client.c.client_id == client_id)
    changed = connection.execute(change.values(image_digest=image and image.digest))
    if changed.rowcount != 1:
        raise NotFound()
    connection.execute(sa.delete(table).where(table.c.client_id == client_id))
    if image is not None:
        row = {"client_id": client_id, "media_type": image.media_type, "content": image.content}
        connection.execute(sa.insert(table), row)


def _find_image(connection: sa.Connection, client_id: str) -> Image | None:
    table = schema.image
    wanted = sa.select(table.c.media_type, table.c.content).where(table.c.client_id == client_id)
    row = connection.execute(wanted).first()
    return Image(*row) if row else None


_CLIENT = sa.select(schema.client).where(
    schema.client.c.client_id == sa.bindparam("client_id", type_=schema.Sought)
)
_USER = sa.select(schema.user).where(
    schema.user.c.username == sa.bindparam("username", type_=schema.Sought)
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


def _clients(connection: sa.Connection, page: Page, search: str) -> list[Client]:
    client = schema.client.c
    found = _containing(search, client.name, client.client_id)
    in_order = sa.select(schema.client).where(*found).order_by(client.name, client.client_id)
    return [_to_client(row) for row in connection.execute(_part(in_order, page))]


def _containing(search: str, *texts: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
    """The condition that one of the texts contains what is searched for; none for nothing."""
    if not search:
        return []
    if not schema.is_storable(search):
        return [sa.false()]
    # As text, since MySQL has identifiers as bytes, and those no capital letters.
    alike = [sa.cast(text, sa.Text).icontains(search, autoescape=True) for text in texts]
    return [sa.or_(*alike)]


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
    clients = sa.select(schema.client.c.client_id, schema.client.c.scopes)
    # In one order, so that of two who do this none waits for the other in a circle.
    in_order = clients.order_by(schema.client.c.client_id).with_for_update()
    for row in connection.execute(in_order).all():
        if row.scopes is not None and name in row.scopes:
            allowed = [scope for scope in row.scopes if scope != name]
            connection.execute(
                sa.update(schema.client)
                .where(schema.client.c.client_id == row.client_id)
                .values(scopes=allowed)
            )


def _find_user(connection: sa.Connection, username: str) -> User | None:
    row = connection.execute(_USER, {"username": username}).first()
    return _to_user(row) if row else None


def _to_user(row: sa.Row[Any]) -> User:
    values = dict(row._mapping)
    # One from before there were subjects goes by the name.
    return User(**{**values, "subject": values["subject"] or values["username"]})


def _users(connection: sa.Connection, page: Page) -> list[User]:
    username = schema.user.c.username
    in_order = sa.select(schema.user).order_by(username)
    if page.after:
        in_order = in_order.where(username > page.after[0])
    return [_to_user(row) for row in connection.execute(_part(in_order, page))]


def _search_users(connection: sa.Connection, text: str, after: str, limit: int, most: int) -> Found:
    username = schema.user.c.username
    in_order = sa.select(schema.user).where(username > after).order_by(username)
    user = in_order.limit(most).subquery().c
    alike = _containing(text, user.username, user.first_name + " " + user.last_name, user.email)
    query = sa.select(*user).where(*alike).order_by(user.username).limit(limit)
    found = [User(**row._mapping) for row in connection.execute(query)]
    if len(found) == limit:
        return Found(found, found[-1].username)
    last = in_order.with_only_columns(username).offset(most - 1).limit(1)
    return Found(found, connection.scalar(last) or "")


_ADMINS = (
    sa.select(schema.user.c.username)
    .where(schema.user.c.admin, ~schema.user.c.disabled)
    .order_by(schema.user.c.username)
)


def _update_user(
    connection: sa.Connection,
    user: User,
    keep_admin: bool,
    only: Collection[str] | None,
    instead_of: str | None,
) -> None:
    if instead_of is not None:
        password_hash = sa.select(schema.user.c.password_hash).where(
            schema.user.c.username == user.username
        )
        if connection.scalar(password_hash.with_for_update()) not in (None, instead_of):
            raise ChangedMeanwhile()
    if keep_admin and (user.disabled or not user.admin):
        _keep_admin(connection, user.username)
    row = _row(user, only, username=user.username)
    # Whoever the user is, that stays.
    row.pop("subject", None)
    _update(connection, schema.user.c.username, row)


def _keep_admin(connection: sa.Connection, username: str) -> None:
    """Lock the administrators, so that of two who go at once the second one sees the first gone."""
    if list(connection.scalars(_ADMINS.with_for_update())) == [username]:
        raise LastAdmin()


def _delete_user(connection: sa.Connection, username: str, keep_admin: bool) -> None:
    if keep_admin:
        _keep_admin(connection, username)
    _delete(connection, schema.user.c.username, username)
    logins.end_sessions(connection, username)


def _acquire_lease(connection: sa.Connection, name: str, holder: str, expires: int, now: int) -> bool:
    table = schema.lease
    free = (table.c.holder == holder) | (table.c.expires <= now)
    renewed = sa.update(table).where(table.c.name == name, free).values(holder=holder, expires=expires)
    if connection.execute(renewed).rowcount == 1:
        return True
    connection.execute(sa.insert(table), {"name": name, "holder": holder, "expires": expires})
    return True


def _prune(
    connection: sa.Connection, key: sa.Column[Any], over: sa.ColumnElement[bool], limit: int
) -> int:
    found = list(connection.scalars(sa.select(key).where(over).limit(limit)))
    if found:
        connection.execute(sa.delete(key.table).where(key.in_(found)))
    return len(found)


def _totals(connection: sa.Connection, now: int) -> Totals:
    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        some = sa.select(sa.literal(1)).select_from(table).where(*conditions).limit(MAX_COUNTED + 1)
        return sa.select(sa.func.count()).select_from(some.subquery()).scalar_subquery()

    user, session = schema.user, schema.session
    row = connection.execute(
        sa.select(
            count(schema.client),
            count(schema.scope),
            count(user),
            count(user, user.c.admin, ~user.c.disabled),
            count(session, session.c.expires > now),
        )
    ).one()
    return Totals(*row)


def _events(connection: sa.Connection, page: Page) -> list[Event]:
    event = schema.event.c
    newest_first = sa.select(schema.event).order_by(event.time.desc(), event.id)
    if page.after:
        time, event_id = page.after
        # The time stands alone, too, so that its index leads to the place.
        older = (event.time < time) | (event.id > event_id)
        newest_first = newest_first.where(event.time <= time, older)
    return [Event(**row._mapping) for row in connection.execute(_part(newest_first, page))]


def _add_statistics(connection: sa.Connection, counts: Mapping[tuple[int, str], int]) -> None:
    table = schema.statistics
    # All processes in one order, so that none of them waits for another in a circle.
    for (hour, kind), count in sorted(counts.items()):
        same = sa.update(table).where(table.c.hour == hour, table.c.kind == kind)
        if connection.execute(same.values(count=table.c.count + count)).rowcount != 1:
            connection.execute(sa.insert(table), {"hour": hour, "kind": kind, "count": count})


def _statistics(connection: sa.Connection, since: int, hours: int) -> dict[tuple[int, str], int]:
    table = schema.statistics
    # A literal, because PostgreSQL does not take one parameter for the same as another.
    part = table.c.hour - table.c.hour % sa.literal_column(str(int(hours)))
    query = (
        sa.select(part, table.c.kind, sa.func.sum(table.c.count))
        .where(table.c.hour >= since)
        .group_by(part, table.c.kind)
    )
    return {(int(first), kind): int(count) for first, kind, count in connection.execute(query)}


def _prune_statistics(connection: sa.Connection, before: int, limit: int) -> int:
    hour = schema.statistics.c.hour
    old = list(connection.scalars(sa.select(hour).where(hour < before).distinct().limit(limit)))
    if old:
        connection.execute(sa.delete(schema.statistics).where(hour.in_(old)))
    return len(old)
