"""Where a server keeps the tokens: a database knows it, so that a command cannot overlook them."""

from __future__ import annotations

import sqlalchemy as sa

from . import schema, statements

#: The place of tokens that are in the database itself.
HERE = ""

_place = schema.token_place
_NUMBER = 1


def find(connection: sa.Connection) -> str | None:
    """The place that the last server has recorded; None before the first."""
    return connection.scalar(sa.select(_place.c.place))


def record(connection: sa.Connection, place: str) -> None:
    """Keep a place. It fails with `AlreadyExists` where another server records the first one now."""
    changed = connection.execute(sa.update(_place).values(place=place))
    if changed.rowcount == 0:
        statements.insert(connection, _place, {"number": _NUMBER, "place": place})
