"""The schema's versions, by Alembic, which is imported only where an older database is upgraded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...errors import ConfigurationError
from .schema import HEAD, VERSION_TABLE, create

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

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
        _set_version(connection, HEAD)
    else:
        migrate(connection, HEAD, keep_copy)


def migrate(
    connection: sa.Connection, version: str, keep_copy: Callable[[], None] = _keep_nothing
) -> None:
    """Run the migrations from a database's version, or from nothing, to a later one.

    :param keep_copy: called before the database is changed.
    :raises ConfigurationError: the database has an unknown version.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.util.exc import CommandError

    found = current(connection)
    try:
        read_migrations().get_revision(found or version)
        scripts = list(read_migrations().iterate_revisions(version, found or "base"))
    except CommandError:
        # Of a newer release, which this one cannot take back.
        raise unknown(found) from None
    keep_copy()
    with Operations.context(MigrationContext.configure(connection)):
        for script in reversed(scripts):
            script.module.upgrade()
    _set_version(connection, version)


def _set_version(connection: sa.Connection, version: str) -> None:
    _version.metadata.create_all(connection)
    connection.execute(sa.delete(_version))
    connection.execute(sa.insert(_version), {"version_num": version})


@cache
def read_migrations() -> ScriptDirectory:
    """All migrations. They are read once."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(MIGRATIONS))
    scripts.get_heads()
    return scripts


def is_known(version: str) -> bool:
    """Whether a version is one of this release's migrations."""
    from alembic.util.exc import CommandError

    try:
        read_migrations().get_revision(version)
    except CommandError:
        return False
    return True


def unknown(version: str | None) -> ConfigurationError:
    """The error for a database whose schema this release cannot work with."""
    if version is None:
        return ConfigurationError("the database has no schema yet: run `djoauth2 database upgrade`")
    return ConfigurationError(
        f"the database has schema {version}, this release needs {HEAD}: "
        "run `djoauth2 database upgrade`, or install the release that made it"
    )
