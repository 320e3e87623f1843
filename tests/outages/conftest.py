"""Engines of our own, each started once, and mended after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import capturedLogs

pytest.register_assert_rewrite("outage_kit")

from outage_kit import (  # noqa: E402
    Kept,
    MariaDB,
    PostgreSQL,
    Redis,
    Resources,
    Tried,
    back_to,
    opened,
)


def _running(engine: Any) -> Iterator[Any]:
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="session")
def postgresql_once() -> Iterator[PostgreSQL]:
    for engine in _running(PostgreSQL()):
        engine.make()
        yield engine


@pytest.fixture(scope="session")
def mariadb_once() -> Iterator[MariaDB]:
    for engine in _running(MariaDB()):
        engine.make()
        yield engine


@pytest.fixture(scope="session")
def redis_once() -> Iterator[Redis]:
    yield from _running(Redis())


def _mended(engine: Any) -> Iterator[Any]:
    """The engine, which runs, and runs again after the test."""
    yield engine
    if engine.process is None:
        engine.start()
    engine.go_on()


@pytest.fixture
def postgresql(postgresql_once: PostgreSQL) -> Iterator[PostgreSQL]:
    yield from _mended(postgresql_once)


@pytest.fixture
def mariadb(mariadb_once: MariaDB) -> Iterator[MariaDB]:
    yield from _mended(mariadb_once)


@pytest.fixture
def redis(redis_once: Redis) -> Iterator[Redis]:
    for engine in _mended(redis_once):
        engine.administer("CONFIG", "SET", "maxmemory", "0", "save", "")
        engine.administer("FLUSHALL")
        yield engine


@pytest.fixture(params=["postgresql", "mariadb", "redis"])
def engine(request: pytest.FixtureRequest) -> Any:
    """Each server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["postgresql", "mariadb"])
def sql_engine(request: pytest.FixtureRequest) -> Any:
    """Each SQL server in turn."""
    return request.getfixturevalue(request.param)


async def _tried(engine: Any) -> AsyncIterator[Tried]:
    base = Resources.now()
    with capturedLogs():
        async with opened(engine) as store:
            yield Tried(engine, store, await Kept.put_into(store))
            engine.go_on()
    # Threads and descriptors are as before.
    await back_to(base)


@pytest_twisted.async_yield_fixture
async def tried(engine: Any) -> AsyncIterator[Tried]:
    """A store on each server in turn. Threads and descriptors return to what they were."""
    async for found in _tried(engine):
        yield found


@pytest_twisted.async_yield_fixture
async def tried_sql(sql_engine: Any) -> AsyncIterator[Tried]:
    """The same on each SQL server."""
    async for found in _tried(sql_engine):
        yield found


@pytest_twisted.async_yield_fixture
async def tried_redis(redis: Redis) -> AsyncIterator[Tried]:
    """The same on Redis."""
    async for found in _tried(redis):
        yield found


@pytest_twisted.async_yield_fixture
async def tried_postgresql(postgresql: PostgreSQL) -> AsyncIterator[Tried]:
    """The same on PostgreSQL."""
    async for found in _tried(postgresql):
        yield found


@pytest_twisted.async_yield_fixture
async def tried_mariadb(mariadb: MariaDB) -> AsyncIterator[Tried]:
    """The same on MariaDB."""
    async for found in _tried(mariadb):
        yield found
