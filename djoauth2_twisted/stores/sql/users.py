"""`IUsers` on SQL: the table ``djoauth2_user``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import attrs
import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...errors import AlreadyExists, ChangedMeanwhile, LastAdmin
from ...interfaces import MAX_SEARCHED, IUsers
from ...models import Found, Page, User
from . import schema, second_factors, sessions, statements, subjects
from .database import OnDatabase


@implementer(IUsers)
class SQLUsers(OnDatabase):
    """The users. Each verb is one step; the steps are the functions below the class."""

    def add_user(self, user: User) -> Deferred[None]:
        folded = schema.folded_digest(user.username)
        return self.database.write(_add_user, user, folded, key=folded)

    def find_user(self, username: str) -> Deferred[User | None]:
        return self.database.read(find_user, username)

    def users_alike(self, username: str) -> Deferred[list[User]]:
        return self.database.read(_users_alike, schema.folded_digest(username))

    def namesakes(self, limit: int) -> Deferred[list[list[str]]]:
        return self.database.read(find_namesakes, limit)

    def update_user(
        self,
        user: User,
        keep_admin: bool = False,
        only: Collection[str] | None = None,
        instead_of: str | None = None,
    ) -> Deferred[None]:
        arguments = user, keep_admin, only, instead_of
        return self.database.write(_update_user, *arguments, key=user.username)

    def delete_user(self, username: str, keep_admin: bool = False) -> Deferred[None]:
        return self.database.write(_delete_user, username, keep_admin, key=username)

    def users(self, page: Page) -> Deferred[list[User]]:
        return self.database.read(_users, page)

    def search_users(
        self, text: str, after: str, limit: int, most: int = MAX_SEARCHED
    ) -> Deferred[Found]:
        return self.database.read(_search_users, text, after, limit, most)


_user = schema.user
_COLUMNS = [_user.c[field.name] for field in attrs.fields(User)]

_BY_NAME = sa.select(*_COLUMNS).where(_user.c.username == sa.bindparam("username", type_=schema.Sought))
_SUBJECT = _BY_NAME.with_only_columns(_user.c.subject)
_ALIKE = sa.select(*_COLUMNS).where(_user.c.folded == sa.bindparam("folded")).order_by(_user.c.namesake)
_ADMINS = sa.select(_user.c.username).where(_user.c.admin, ~_user.c.disabled).order_by(_user.c.username)


def _add_user(connection: sa.Connection, user: User, folded: bytes) -> None:
    # The unique index refuses the second of two new users. This finds what the index allows: a user from
    # before names were folded who is left of several. No such row is ever added.
    if connection.execute(_ALIKE, {"folded": folded}).first() is not None:
        raise AlreadyExists()
    row = {**statements.row_of(user), "folded": folded, "namesake": 0}
    statements.insert(connection, _user, row)


def find_user(connection: sa.Connection, username: str) -> User | None:
    """A user, disabled or not."""
    row = connection.execute(_BY_NAME, {"username": username}).first()
    return _to_user(row) if row else None


def _users_alike(connection: sa.Connection, folded: bytes) -> list[User]:
    return [_to_user(row) for row in connection.execute(_ALIKE, {"folded": folded})]


def find_namesakes(connection: sa.Connection, limit: int) -> list[list[str]]:
    """See `IUsers.namesakes`."""
    several = sa.select(_user.c.folded).where(_user.c.namesake > 0).distinct().limit(limit)
    keys = list(connection.scalars(several))
    names = sa.select(_user.c.folded, _user.c.username).where(_user.c.folded.in_(keys))
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for folded, username in connection.execute(names.order_by(_user.c.username)):
        groups[folded].append(username)
    # Of two users, one may have been deleted.
    return sorted(group for group in groups.values() if len(group) > 1)


def _to_user(row: sa.Row[Any]) -> User:
    values = dict(row._mapping)
    # A user from before there were subjects has the name as the subject.
    values["subject"] = values["subject"] or values["username"]
    values["email_verified"] = bool(values["email_verified"])
    return User(**values)


def _update_user(
    connection: sa.Connection,
    user: User,
    keep_admin: bool,
    only: Collection[str] | None,
    instead_of: str | None,
) -> None:
    if instead_of is not None:
        password_hash = sa.select(_user.c.password_hash).where(_user.c.username == user.username)
        if connection.scalar(password_hash.with_for_update()) not in (None, instead_of):
            raise ChangedMeanwhile()
    if keep_admin and (user.disabled or not user.admin):
        _keep_admin(connection, user.username)
    changes = statements.row_of(user, only)
    # The subject never changes.
    changes.pop("subject", None)
    statements.update(connection, _user.c.username, user.username, changes)


def _keep_admin(connection: sa.Connection, username: str) -> None:
    """Raise `LastAdmin` where this user is the only administrator.

    The administrators' rows are locked: of two steps that each remove one of the last two, the second
    sees what the first did.
    """
    if list(connection.scalars(_ADMINS.with_for_update())) == [username]:
        raise LastAdmin()


def _delete_user(connection: sa.Connection, username: str, keep_admin: bool) -> None:
    if keep_admin:
        _keep_admin(connection, username)
    subject = connection.scalar(_SUBJECT, {"username": username})
    statements.delete(connection, _user.c.username, username)
    sessions.end_sessions(connection, username)
    subject = username if subject is None else subject
    second_factors.remove(connection, subject)
    subjects.note_deleted(connection, subject)


def _users(connection: sa.Connection, page: Page) -> list[User]:
    by_name = sa.select(*_COLUMNS).order_by(_user.c.username)
    if page.after:
        by_name = by_name.where(_user.c.username > page.after[0])
    return [_to_user(row) for row in connection.execute(statements.page_of(by_name, page))]


def _search_users(connection: sa.Connection, text: str, after: str, limit: int, most: int) -> Found:
    username = _user.c.username
    by_name = sa.select(*_COLUMNS).where(username > after).order_by(username)
    user = by_name.limit(most).subquery().c
    alike = statements.containing(
        text, user.username, user.first_name + " " + user.last_name, user.email
    )
    query = sa.select(*user).where(*alike).order_by(user.username).limit(limit)
    found = [_to_user(row) for row in connection.execute(query)]
    if len(found) == limit:
        return Found(found, found[-1].username)
    last = by_name.with_only_columns(username).offset(most - 1).limit(1)
    return Found(found, connection.scalar(last) or "")
