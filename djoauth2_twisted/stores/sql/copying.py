"""Everything from one database into another, as when SQLite has become too small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ...errors import ConfigurationError
from . import upgrade
from .engines import Engine, engine_of
from .schema import HEAD, failure, lease, metadata

BATCH = 1000

#: What is of this moment and this server's processes alone.
_LEFT_OUT = (lease, failure)


def copy(source: str, target: str) -> dict[str, int]:
    """Copy all rows in one transaction; see `stores.urls.copy_database`."""
    origin, destination = engine_of(source), engine_of(target)
    if origin.name == destination.name:
        raise ConfigurationError("a database cannot be copied into itself")
    if not origin.exists():
        raise ConfigurationError(f"there is no database {origin.name}")
    if destination.prepares_itself:
        destination.create()
    with _connect(origin) as reading, _connect(destination) as writing:
        _check(reading, origin, False)
        _check(writing, destination, destination.prepares_itself)
        return {
            table.name: _copy_table(reading, writing, table, destination)
            for table in metadata.sorted_tables
            if table not in _LEFT_OUT
        }


@contextmanager
def _connect(engine: Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction, whose errors are told by the database's name."""
    try:
        with engine.connect(writes=True, patient=True) as connection, connection.begin():
            yield connection
    except (sa.exc.SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ConfigurationError(f"the database {engine.name} cannot be used: {reason}") from None


def _check(connection: sa.Connection, engine: Engine, prepare: bool) -> None:
    found = upgrade.current(connection)
    if found is None and prepare:
        upgrade.upgrade(connection)
    elif found != HEAD:
        raise ConfigurationError(f"{engine.name}: {upgrade.unknown(found)}")


def _copy_table(
    reading: sa.Connection, writing: sa.Connection, table: sa.Table, destination: Engine
) -> int:
    if writing.execute(sa.select(table).limit(1)).first() is not None:
        raise ConfigurationError(f"the database {destination.name} is not empty: nothing was copied")
    count = 0
    rows = reading.execution_options(stream_results=True).execute(sa.select(table))
    for part in rows.partitions(BATCH):
        writing.execute(sa.insert(table), [dict(row._mapping) for row in part])
        count += len(part)
    return count
