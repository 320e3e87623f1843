"""Everything from one database into another, as when SQLite has become too small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ...errors import ConfigurationError
from . import upgrade
from .engines import Engine, SQLite, engine_of, unusable
from .schema import HEAD, change, failure, lease, metadata

BATCH = 1000

#: What is of this moment and this server's processes alone.
_LEFT_OUT = (lease, failure, change)


def copy(source: str, target: str) -> dict[str, int]:
    """Copy all rows in one transaction; see `stores.urls.copy_database`."""
    origin, destination = engine_of(source), engine_of(target)
    for engine in (origin, destination):
        if isinstance(engine, SQLite) and engine.path is None:
            raise ConfigurationError("a database in memory is nobody else's: it cannot be copied")
    if _is_same(origin, destination):
        raise ConfigurationError("a database cannot be copied into itself")
    if not origin.exists():
        raise ConfigurationError(f"there is no database {origin.name}")
    with _connect(origin) as reading:
        _check(reading, origin, False)
        with _created(destination), _connect(destination) as writing:
            _check(writing, destination, destination.prepares_itself)
            return {
                table.name: _copy_table(reading, writing, table, origin, destination)
                for table in metadata.sorted_tables
                if table not in _LEFT_OUT
            }


def _is_same(origin: Engine, destination: Engine) -> bool:
    if isinstance(origin, SQLite) and isinstance(destination, SQLite):
        # A link leads to it, too.
        files = [engine.path.resolve() for engine in (origin, destination) if engine.path]
        return files[0] == files[1]
    return origin.name == destination.name


@contextmanager
def _created(engine: Engine) -> Iterator[None]:
    """Make a file where there is none; it goes again where nothing came into it."""
    path = engine.path if isinstance(engine, SQLite) else None
    if path is None or path.exists():
        yield
        return
    with _told(engine):
        engine.create()
    try:
        yield
    except BaseException:
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        raise


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """Tell errors by the database's name, and without what was written."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise unusable(engine, error) from None


@contextmanager
def _connect(engine: Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction, which sees all as it was at one moment."""
    with _told(engine), engine.connect(writes=True, patient=True) as connection:
        if not isinstance(engine, SQLite):
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


def _check(connection: sa.Connection, engine: Engine, prepare: bool) -> None:
    found = upgrade.current(connection)
    if found is None and prepare:
        upgrade.upgrade(connection)
    elif found != HEAD:
        raise ConfigurationError(f"{engine.name}: {upgrade.unknown(found)}")


def _copy_table(
    reading: sa.Connection,
    writing: sa.Connection,
    table: sa.Table,
    origin: Engine,
    destination: Engine,
) -> int:
    if writing.execute(sa.select(table).limit(1)).first() is not None:
        raise ConfigurationError(f"the database {destination.name} is not empty: nothing was copied")
    count = 0
    with _told(origin):
        rows = reading.execution_options(stream_results=True).execute(sa.select(table))
        for part in rows.partitions(BATCH):
            with _told(destination):
                writing.execute(sa.insert(table), [dict(row._mapping) for row in part])
            count += len(part)
    return count
