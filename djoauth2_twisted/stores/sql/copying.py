"""Copying everything from one database into another, as when SQLite has become too small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ...errors import ConfigurationError
from . import upgrade
from .engines import engine_of
from .engines.engine import Engine, unusable
from .schema import HEAD, failure, invalidation_counter, lease, metadata, token_place

#: How many rows are inserted at once.
BATCH = 1000

#: What belongs to the running processes of the old server.
_LEFT_OUT = (lease, failure, invalidation_counter)


def copy(source: str, target: str) -> dict[str, int]:
    """Copy all rows in one transaction; see `stores.urls.copy_database`."""
    origin, destination = engine_of(source), engine_of(target)
    if origin.is_private or destination.is_private:
        raise ConfigurationError("a database in memory cannot be copied")
    if origin.location == destination.location:
        raise ConfigurationError("a database cannot be copied into itself")
    if not origin.exists():
        raise ConfigurationError(f"there is no database {origin.name}")
    with _connect(origin) as reading:
        _check(reading, origin, False)
        with _created(destination), _connect(destination) as writing:
            destination.judge(writing)
            _check(writing, destination, destination.prepares_itself)
            return {
                table.name: _copy_table(reading, writing, table, origin, destination)
                for table in metadata.sorted_tables
                if table not in _LEFT_OUT
            }


@contextmanager
def _created(engine: Engine) -> Iterator[None]:
    """Create a file where there is none, and remove it again where nothing was copied into it."""
    if engine.exists():
        yield
        return
    with _named(engine):
        engine.create()
    try:
        yield
    except BaseException:
        engine.remove()
        raise


@contextmanager
def _named(engine: Engine) -> Iterator[None]:
    """Turn errors into one line with the database's name, and without the rows."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise unusable(engine, error) from None


@contextmanager
def _connect(engine: Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction that sees the whole database as it is at one moment."""
    with _named(engine), engine.connect_to_copy() as connection, connection.begin():
        yield connection


def _check(connection: sa.Connection, engine: Engine, prepare: bool) -> None:
    found = upgrade.current(connection)
    if found is None and prepare:
        upgrade.upgrade(connection, engine.table_options)
    elif found != HEAD:
        raise ConfigurationError(f"{engine.name}: {upgrade.unknown(found)}")


def _copy_table(
    reading: sa.Connection,
    writing: sa.Connection,
    table: sa.Table,
    origin: Engine,
    destination: Engine,
) -> int:
    if table is token_place:
        # A server that was started on the target has recorded its own.
        writing.execute(sa.delete(table))
    if writing.execute(sa.select(table).limit(1)).first() is not None:
        raise ConfigurationError(f"the database {destination.name} is not empty: nothing was copied")
    count = 0
    with _named(origin):
        rows = reading.execution_options(stream_results=True).execute(sa.select(table))
        for batch in rows.partitions(BATCH):
            with _named(destination):
                writing.execute(sa.insert(table), [dict(row._mapping) for row in batch])
            count += len(batch)
    return count
