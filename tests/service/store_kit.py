"""Stores that several server processes share, filled as an operator fills them."""

from __future__ import annotations

from contextlib import ExitStack

import sqlalchemy as sa
from servers import made, redis_database
from service_kit import Prepared

from djoauth2_twisted.stores.sql import upgrade
from djoauth2_twisted.stores.sql.engines import engine_of
from djoauth2_twisted.stores.urls import copy_database


def sql_options(server: str, prepared: Prepared, stack: ExitStack) -> tuple[str, ...]:
    """A database of the tests' own on a server that runs, filled as an operator fills it."""
    url = stack.enter_context(made(server))
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        upgrade.upgrade(connection, engine_of(url).table_options)
    copy_database(f"sqlite:///{prepared.database}", url)
    return ("--database", url)


def redis_options(prepared: Prepared, stack: ExitStack) -> tuple[str, ...]:
    """Tokens in Redis, the rest in the file."""
    return ("--token-store", stack.enter_context(redis_database()))
