"""`ISessions` on SQL: the table ``djoauth2_session``."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import ISessions
from ...models import ResourceOwner, Session
from . import schema, statements
from .database import OnDatabase
from .rows import profile_of

#: How many sessions of a user one new session deletes at most.
MAX_ENDED = 500


@implementer(ISessions)
class SQLSessions(OnDatabase):
    """The sessions. Each verb is one step; the steps are the functions below the class."""

    def add_session(self, session: Session, most: int | None = None) -> Deferred[None]:
        row = {
            "digest": session.digest,
            "username": session.owner.username,
            "profile": profile_of(session.owner),
            "expires": session.expires,
        }
        # By the user: where ``most`` is given, two sessions of one user lock the same rows.
        return self.database.write(_add_session, row, most, key=session.owner.username)

    def find_session(self, session_digest: bytes, now: int) -> Deferred[Session | None]:
        return self.database.read(find_session, session_digest, now)

    def end_session(self, session_digest: bytes) -> Deferred[None]:
        return self.database.write(_end_session, session_digest, key=session_digest)

    def end_sessions(self, username: str) -> Deferred[None]:
        return self.database.write(end_sessions, username, key=username)

    def prune_sessions(self, now: int, limit: int) -> Deferred[int]:
        expired = _session.c.expires <= now
        return self.database.write(
            statements.delete_some, _session.c.digest, expired, limit, key="prune sessions"
        )


_session = schema.session
_user = schema.user

# With the user of that name, if one is registered.
_BY_DIGEST = (
    sa.select(
        _session,
        _user.c.disabled,
        sa.func.coalesce(_user.c.subject, _user.c.username).label("subject"),
    )
    .outerjoin(_user, _user.c.username == _session.c.username)
    .where(_session.c.digest == sa.bindparam("digest"), _session.c.expires > sa.bindparam("now"))
)


def _add_session(connection: sa.Connection, row: dict[str, Any], most: int | None) -> None:
    of_user = sa.select(_session.c.digest).where(_session.c.username == row["username"])
    if most is not None:
        # Locked, so that of two processes the second one sees the session that the first one adds.
        connection.execute(of_user.order_by(_session.c.digest).limit(MAX_ENDED).with_for_update())
    statements.insert(connection, _session, row)
    if most is not None:
        _end_oldest(connection, of_user.where(_session.c.digest != row["digest"]), most - 1)


def _end_oldest(connection: sa.Connection, of_user: sa.Select[tuple[bytes]], most: int) -> None:
    newest_first = of_user.order_by(_session.c.expires.desc(), _session.c.digest.desc())
    beyond = list(connection.scalars(newest_first.offset(most).limit(MAX_ENDED)))
    if beyond:
        connection.execute(sa.delete(_session).where(_session.c.digest.in_(beyond)))


def find_session(connection: sa.Connection, session_digest: bytes, now: int) -> Session | None:
    """A session that has not expired, and whose user is not disabled."""
    row = connection.execute(_BY_DIGEST, {"digest": session_digest, "now": now}).first()
    if row is None or row.disabled:
        return None
    owner = ResourceOwner(row.username, **row.profile)
    # The user may have been deleted, and another one may have the name now.
    return Session(row.digest, owner, row.expires) if row.subject in (None, owner.subject) else None


def _end_session(connection: sa.Connection, session_digest: bytes) -> None:
    connection.execute(sa.delete(_session).where(_session.c.digest == session_digest))


def end_sessions(connection: sa.Connection, username: str) -> None:
    """Delete all sessions of a user."""
    connection.execute(sa.delete(_session).where(_session.c.username == username))
