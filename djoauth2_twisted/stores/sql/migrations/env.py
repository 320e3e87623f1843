"""Alembic's way in: it is called by `upgrade` with a connection and runs on it."""

from alembic import context

from djoauth2_twisted.stores.sql.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
