"""The schema's versions, by Alembic, which is imported only where there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ...errors import ConfigurationError
from .schema import HEAD, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


def current(connection: sa.Connection) -> str | None:
    """The version that a database has, or None for one that was never prepared."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))
    return connection.scalar(sa.select(version.c.version_num))


def upgrade(connection: sa.Connection) -> None:
    """Bring a database to `HEAD`. The connection is in a transaction, which the caller commits.

    :raises ConfigurationError: its version is not one of ours.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    try:
        command.upgrade(_config(connection), HEAD)
    except CommandError:
        raise unknown(current(connection)) from None


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def unknown(version: str | None) -> ConfigurationError:
    """The error for a database that this release cannot work with."""
    return ConfigurationError(
        f"the database has schema {version}, this release needs {HEAD}: "
        "run `djoauth2 database upgrade`, or install the release that made it"
    )
