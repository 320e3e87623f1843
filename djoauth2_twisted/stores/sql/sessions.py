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

#: The lifetime of sessions from before they had an ``auth_time``, in seconds.
LIFETIME_BEFORE = 12 * 3600


@implementer(ISessions)
class SQLSessions(OnDatabase):
    """The sessions. Each verb is one step; the steps are the functions below the class."""

    def add_session(self, session: Session, most: int | None = None) -> Deferred[None]:
        row = {
            "digest": session.digest,
            "username": session.owner.username,
            "profile": profile_of(session.owner),
            "expires": session.expires,
            "auth_time": session.auth_time,
            "address": session.address,
            "second_factor": session.second_factor,
        }
        # By the user: where ``most`` is given, two sessions of one user lock the same rows.
        return self.database.write(_add_session, row, most, key=session.owner.username)

    def find_session(self, session_digest: bytes, now: int) -> Deferred[Session | None]:
        return self.database.read(find_session, session_digest, now)

    def end_session(self, session_digest: bytes) -> Deferred[None]:
        return self.database.write(_end_session, session_digest, key=session_digest)

    def end_sessions(self, username: str, keep: bytes | None = None) -> Deferred[None]:
        return self.database.write(end_sessions, username, keep, key=username)

    def sessions_of(self, username: str, now: int, limit: int) -> Deferred[list[Session]]:
        return self.database.read(_sessions_of, username, now, limit)

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
    session = _to_session(row)
    # The user may have been deleted, and another one may have the name now.
    return session if row.subject in (None, session.owner.subject) else None


def _to_session(row: sa.Row[Any]) -> Session:
    auth_time = row.expires - LIFETIME_BEFORE if row.auth_time is None else row.auth_time
    return Session(
        row.digest,
        ResourceOwner(row.username, **row.profile),
        row.expires,
        auth_time,
        row.address or "",
        bool(row.second_factor),
    )


def _sessions_of(connection: sa.Connection, username: str, now: int, limit: int) -> list[Session]:
    found = sa.select(_session).where(_session.c.username == username, _session.c.expires > now)
    newest_first = found.order_by(_session.c.expires.desc(), _session.c.digest.desc())
    return [_to_session(row) for row in connection.execute(newest_first.limit(limit))]


def _end_session(connection: sa.Connection, session_digest: bytes) -> None:
    connection.execute(sa.delete(_session).where(_session.c.digest == session_digest))


def end_sessions(connection: sa.Connection, username: str, keep: bytes | None = None) -> None:
    """Delete all sessions of a user but the one with the digest ``keep``."""
    of_user = sa.delete(_session).where(_session.c.username == username)
    connection.execute(of_user if keep is None else of_user.where(_session.c.digest != keep))
