"""Statements that are compiled once: their values, and their errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from database_kit import SECRET
from sqlalchemy import bindparam

from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.sql.compiled import Compiled
from djoauth2_twisted.stores.sql.engines import engine_of

_ADD = Compiled(sa.insert(schema.session))
_FIND = Compiled(sa.select(schema.session).where(schema.session.c.digest == bindparam("wanted")))
_MOVE = Compiled(
    sa.update(schema.session)
    .where(schema.session.c.username == bindparam("user"))
    .values(expires=bindparam("until"), second_factor=sa.true())
)


def _session(digest: bytes, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(column.name for column in schema.session.c)
    return row | {"digest": digest, "username": "Zoë", "profile": {}, "expires": 1} | changes


@pytest.fixture
def connection(path: Path) -> Iterator[sa.Connection]:
    engine = engine_of(f"sqlite:///{path}")
    engine.create()
    with engine.connect(writes=True) as connection:
        connection.begin()
        schema.create(connection, {})
        yield connection


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"profile": {"email": "zoë@example.com", "email_verified": True}},
        {"second_factor": False, "auth_time": 2**40, "sid": "sid"},
    ],
)
def test_values_are_those_of_sqlalchemy(connection: sa.Connection, changes: dict[str, Any]) -> None:
    """The columns' types convert what is written and what is read."""
    row = _session(b"compiled", **changes)
    assert _ADD.change(connection, **row) == 1
    connection.execute(sa.insert(schema.session), row | {"digest": b"other"})
    compiled, other = connection.execute(sa.select(schema.session).order_by(schema.session.c.digest))
    assert compiled._mapping == row
    assert _FIND.first(connection, wanted=b"compiled") == list(compiled)
    assert _FIND.first(connection, wanted=b"other") == list(other)


def test_what_is_not_there_is_none(connection: sa.Connection) -> None:
    assert _FIND.first(connection, wanted=b"nothing") is None


def test_changed_rows_are_counted(connection: sa.Connection) -> None:
    _ADD.change_each(connection, [_session(b"one"), _session(b"two"), _session(b"", username="other")])
    assert _MOVE.change(connection, user="Zoë", until=7) == 2
    assert _MOVE.change(connection, user="nobody", until=8) == 0
    found = connection.execute(sa.select(schema.session.c.expires, schema.session.c.second_factor))
    assert sorted(map(tuple, found), key=str) == [(1, None), (7, True), (7, True)]


def test_value_that_is_left_out_is_no_null(connection: sa.Connection) -> None:
    row = _session(b"digest")
    del row["sid"]
    with pytest.raises(KeyError, match="sid"):
        _ADD.change(connection, **row)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"expires": None}, sa.exc.IntegrityError),
        ({"expires": object()}, sa.exc.ProgrammingError),
    ],
)
def test_errors_are_those_of_sqlalchemy(
    connection: sa.Connection, changes: dict[str, Any], error: type[sa.exc.DBAPIError]
) -> None:
    """They have the driver's error, but no SQL and no values, as they may be logged."""
    row = _session(b"digest", username=SECRET, **changes)
    with pytest.raises(error) as raised:
        _ADD.change(connection, **row)
    with pytest.raises(error) as theirs:
        connection.execute(sa.insert(schema.session), row)
    assert type(raised.value) is type(theirs.value)
    assert str(raised.value.orig) == str(theirs.value.orig)
    assert not raised.value.connection_invalidated
    assert SECRET not in str(raised.value)
    assert not connection.invalidated


def test_lost_connection_is_noticed(connection: sa.Connection) -> None:
    """A worker connects again where a connection was idle for too long."""
    raw: Any = connection.connection.dbapi_connection
    raw.close()
    with pytest.raises(sa.exc.DBAPIError) as raised:
        _FIND.first(connection, wanted=b"digest")
    assert raised.value.connection_invalidated
    assert connection.invalidated
