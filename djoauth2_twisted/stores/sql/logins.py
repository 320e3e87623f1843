"""The steps of `SQLRegistry` on logins, and on attempts at them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from ...models import Limit, ResourceOwner, Session
from ...protocol import attempts
from . import schema

#: How many logins of a user one new login forgets at most.
MAX_ENDED = 500

# With the user who has the name now, if there is one.
_SESSION = (
    sa.select(
        schema.session,
        schema.user.c.disabled,
        sa.func.coalesce(schema.user.c.subject, schema.user.c.username).label("subject"),
    )
    .outerjoin(schema.user, schema.user.c.username == schema.session.c.username)
    .where(
        schema.session.c.digest == sa.bindparam("digest"),
        schema.session.c.expires > sa.bindparam("now"),
    )
)


def add_session(connection: sa.Connection, username: str, row: dict[str, Any], most: int | None) -> None:
    table = schema.session
    mine = sa.select(table.c.digest).where(table.c.username == username)
    if most is not None:
        # Locked, so that of two processes the second one sees the first one's login.
        connection.execute(mine.order_by(table.c.digest).limit(MAX_ENDED).with_for_update())
    connection.execute(sa.insert(table), row)
    if most is not None:
        _end_oldest(connection, mine.where(table.c.digest != row["digest"]), most - 1)


def _end_oldest(connection: sa.Connection, mine: sa.Select[tuple[bytes]], most: int) -> None:
    table = schema.session
    newest_first = mine.order_by(table.c.expires.desc(), table.c.digest.desc())
    over = list(connection.scalars(newest_first.offset(most).limit(MAX_ENDED)))
    if over:
        connection.execute(sa.delete(table).where(table.c.digest.in_(over)))


def find_session(connection: sa.Connection, session_digest: bytes, now: int) -> Session | None:
    row = connection.execute(_SESSION, {"digest": session_digest, "now": now}).first()
    if row is None or row.disabled:
        return None
    owner = ResourceOwner(row.username, **row.profile)
    # The name may have been freed, and taken by somebody else.
    return Session(row.digest, owner, row.expires) if row.subject in (None, owner.subject) else None


def end_session(connection: sa.Connection, session_digest: bytes) -> None:
    connection.execute(sa.delete(schema.session).where(schema.session.c.digest == session_digest))


def end_sessions(connection: sa.Connection, username: str) -> None:
    connection.execute(sa.delete(schema.session).where(schema.session.c.username == username))


_FAILURE = (
    sa.select(schema.failure).where(schema.failure.c.place == sa.bindparam("place")).with_for_update()
)


def count_failure(connection: sa.Connection, place: bytes, now: int, per_minute: int) -> float:
    table = schema.failure
    row = connection.execute(_FAILURE, {"place": place}).first()
    if row is None:
        connection.execute(sa.insert(table), {"place": place, "level": 1.0, "since": now})
        return 1.0
    level = attempts.level(row.level, row.since, now, Limit(per_minute)) + 1
    connection.execute(sa.update(table).where(table.c.place == place).values(level=level, since=now))
    return level


def begin_attempt(
    connection: sa.Connection, limits: Mapping[bytes, Limit], now: int
) -> dict[bytes, float]:
    table = schema.failure
    # Locked in one order, so that of two who do this none waits for the other in a circle.
    found = sa.select(table).where(table.c.place.in_(limits)).order_by(table.c.place).with_for_update()
    kept = {row.place: (row.level, row.since) for row in connection.execute(found)}
    levels = {
        place: attempts.level(*kept.get(place, (0.0, now)), now, limit)
        for place, limit in limits.items()
    }
    waits = attempts.waits(levels, limits)
    if not waits:
        for place, level in sorted(levels.items()):
            row = {"place": place, "level": level + 1, "since": now}
            same = sa.update(table).where(table.c.place == place)
            connection.execute(same.values(row) if place in kept else sa.insert(table).values(row))
    return waits


def give_back(connection: sa.Connection, places: Collection[bytes]) -> None:
    table = schema.failure
    found = sa.select(table).where(table.c.place.in_(places)).order_by(table.c.place).with_for_update()
    for row in connection.execute(found).all():
        same = sa.update(table).where(table.c.place == row.place)
        connection.execute(same.values(level=max(0.0, row.level - 1)))
