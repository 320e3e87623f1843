"""Databases of our own on real servers, for the length of a module's tests."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
import sqlalchemy as sa
from reactors import reactor
from twisted.internet.defer import Deferred

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines import engine_of

POSTGRESQL = os.environ.get(
    "DJOAUTH2_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)
REDIS = os.environ.get("DJOAUTH2_TEST_REDIS", "redis://127.0.0.1:6379/0")
MARIADB = os.environ.get("DJOAUTH2_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/test")

#: Parameters of tests that use a server: each carries the marker of such tests.
WITH_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.engine)
WITH_MARIADB = pytest.param("mariadb", marks=pytest.mark.engine)
WITH_REDIS = pytest.param("redis", marks=pytest.mark.engine)


@contextmanager
def made(server: str) -> Iterator[str]:
    """The URL of a new, prepared database, which is removed again."""
    name = f"djoauth2_{random_string(10).lower()}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except sa.exc.OperationalError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no such server is running: {error.orig}")
    url = sa.make_url(server).set(database=name)
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            force = " WITH (FORCE)" if url.get_backend_name() == "postgresql" else ""
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")


def worker_number() -> int:
    """Which worker of pytest-xdist this process is, from 0 on."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@contextmanager
def redis_database() -> Iterator[str]:
    """The URL of this worker's numbered database of Redis, which is emptied before and after."""
    parts = urlsplit(REDIS)
    # Redis has 16, of which the tests that keep to a prefix share the first.
    number = 15 - worker_number()
    assert number > 0, "Redis has no numbered database for so many workers"

    def clear() -> None:
        with socket.create_connection((parts.hostname or "", parts.port or 6379)) as connection:
            connection.sendall(f"SELECT {number}\r\nFLUSHDB\r\n".encode())
            answers = b""
            while answers.count(b"\r\n") < 2:
                part = connection.recv(100)
                assert part
                answers += part
            assert answers == b"+OK\r\n+OK\r\n", answers

    try:
        clear()
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no such server is running: {error}")
    try:
        yield parts._replace(path=f"/{number}").geturl()
    finally:
        clear()


def prepare(url: str) -> None:
    """What ``djoauth2 database upgrade`` does, in a fixture that is no coroutine."""
    pytest_twisted.blockon(Deferred.fromCoroutine(prepare_now(url)))


async def prepare_now(url: str) -> None:
    """What ``djoauth2 database upgrade`` does."""
    database = Database(reactor, url)
    database.open(prepare=True)
    await database.close()


# The tests of a module share these, as the workers of a server do: each statement is compiled once.
_engine_of = cache(engine_of)


@cache
def _emptying(url: str) -> sa.Engine:
    """Deletes all rows, without the deadlines of a server."""
    return sa.create_engine(url, poolclass=sa.pool.NullPool)


async def opened(url: str) -> AsyncIterator[Database]:
    """An open database without a row in it."""
    with _emptying(url).begin() as connection:
        for table in schema.metadata.sorted_tables:
            connection.execute(sa.delete(table))
    database = Database(reactor, url)
    database._engine = _engine_of(url)
    database.open()
    yield database
    await database.close()


def url_fixture(server: str) -> Any:
    """A module's fixture ``url`` with a database of its own."""

    @pytest.fixture(scope="module")
    def url() -> Iterator[str]:
        with made(server) as found:
            prepare(found)
            yield found

    return url
