"""The schema's versions, by Alembic, which is imported only where an older database is upgraded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...errors import ConfigurationError
from .schema import HEAD, VERSION_TABLE, create

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

# As Alembic creates it.
_version = sa.Table(
    VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


def current(connection: sa.Connection) -> str | None:
    """The version of a database's schema; None where it was never prepared."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.scalar(sa.select(_version.c.version_num))


def _keep_nothing() -> None:
    """The default of `upgrade`."""


def upgrade(
    connection: sa.Connection,
    table_options: Mapping[str, Any],
    keep_copy: Callable[[], None] = _keep_nothing,
) -> None:
    """Bring a database to `HEAD`. The connection is in a transaction, which the caller commits.

    A new database gets today's tables at once, which are the result of all migrations together. So
    Alembic, which takes 10 MiB, is needed for older databases alone.

    :param table_options: the engine's.
    :param keep_copy: called before an older database is changed.
    :raises ConfigurationError: the database has an unknown version.
    """
    if current(connection) is None:
        create(connection, table_options)
        _version.metadata.create_all(connection, checkfirst=False)
        connection.execute(sa.insert(_version), {"version_num": HEAD})
    else:
        _migrate(connection, keep_copy)


def _migrate(connection: sa.Connection, keep_copy: Callable[[], None]) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config, version = _config(connection), current(connection)
    try:
        ScriptDirectory.from_config(config).get_revision(str(version))
    except CommandError:
        # Of a newer release, which this one cannot take back.
        raise unknown(version) from None
    keep_copy()
    command.upgrade(config, HEAD)


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def unknown(version: str | None) -> ConfigurationError:
    """The error for a database whose schema this release cannot work with."""
    if version is None:
        return ConfigurationError("the database has no schema yet: run `djoauth2 database upgrade`")
    return ConfigurationError(
        f"the database has schema {version}, this release needs {HEAD}: "
        "run `djoauth2 database upgrade`, or install the release that made it"
    )
