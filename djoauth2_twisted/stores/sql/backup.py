"""The backup of a database, and its restore. SQLite's are done here, a server's by its own tools."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from ...errors import ConfigurationError
from . import token_place, upgrade
from .engines import engine_of
from .engines.engine import Engine, unusable
from .engines.sqlite import SQLite
from .engines.sqlite_files import copy_file, overwrite, partial_file
from .partitions import ALL
from .schema import HEAD, invalidation_counter

_T = TypeVar("_T")


def back_up(url: str, file: str) -> str | None:
    """Copy a SQLite database into a file; see `stores.urls.back_up_database`."""
    path = _file_of(engine_of(url), 0)
    target = Path(os.path.realpath(file))
    if not path.exists():
        raise ConfigurationError(f"there is no database {path}")
    if target.exists() and not target.is_file():
        raise ConfigurationError(f"{target} is not a file that can be replaced")
    _check_different(path, target)
    copy_file(path, target)
    return _ask(target, token_place.find) or None


def restore(url: str, file: str) -> bool:
    """Put a backup into a SQLite database; see `stores.urls.restore_database`."""
    path = _file_of(engine_of(url), 1).resolve()
    backup = Path(os.path.abspath(file))
    if not backup.is_file():
        raise ConfigurationError(f"there is no backup {backup}")
    _check_different(path, backup)
    with partial_file(path) as partial:
        copy_file(backup, partial, like=path.parent)
        _prepare(partial, path, backup)
        return overwrite(path, partial)


def _file_of(engine: Engine, tool: int) -> Path:
    if engine.path is not None:
        return engine.path
    if engine.is_private:
        raise ConfigurationError("a database in memory has no backup")
    raise ConfigurationError(
        f"this command is for SQLite; for {engine.name} use `{engine.backup_tools[tool]}`"
    )


def _check_different(path: Path, other: Path) -> None:
    if path.resolve() == other.resolve():
        raise ConfigurationError(f"{other} is the database itself: name another file")


def _prepare(partial: Path, path: Path, backup: Path) -> None:
    """Make what is restored fit this release and the running servers, before any of it is seen.

    :raises ConfigurationError: the backup is of no database of ours, or of a newer release.
    """
    engine = SQLite(partial)
    try:
        with engine.connect(writes=True) as connection, connection.begin():
            version = upgrade.current(connection)
            if version is None:
                raise ConfigurationError(f"{backup} is not a backup of a database of this server")
            if version != HEAD:
                upgrade.upgrade(connection, engine.table_options)
            _raise_counters(connection, path)
            place = _ask(path, token_place.find)
            if place is not None:
                # It is where the servers look today, which may differ from the time of the backup.
                token_place.record(connection, place)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise unusable(engine, error) from None


def _raise_counters(connection: sa.Connection, path: Path) -> None:
    """Have all processes on the database forget the access tokens and clients that they have cached."""
    highest = max(_highest_counter(connection), _ask(path, _highest_counter) or 0)
    connection.execute(sa.delete(invalidation_counter))
    connection.execute(
        sa.insert(invalidation_counter),
        [{"part": part, "counter": highest + 1} for part in ALL],
    )


def _highest_counter(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(invalidation_counter.c.counter))) or 0


def _ask(path: Path, question: Callable[[sa.Connection], _T]) -> _T | None:
    """What a database answers; None where it cannot, as one that is missing, damaged or older."""
    if not path.exists():
        return None
    try:
        with SQLite(path).connect(writes=False) as connection:
            return question(connection)
    except sa.exc.SQLAlchemyError:
        return None
