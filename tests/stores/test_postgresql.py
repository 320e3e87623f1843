"""The contracts over a real PostgreSQL, in a separate database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
import servers

from djoauth2_twisted.stores.contract import (
    ClientFeedContract,
    InvalidationFeedContract,
    RegistryBacklogContract,
    RegistryContract,
    TokenBacklogContract,
    TokenStoreContract,
)
from djoauth2_twisted.stores.sql.registry import SQLRegistry
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("patient")]

url = servers.url_fixture(servers.POSTGRESQL)


@pytest_twisted.async_yield_fixture
async def token_store(url: str) -> AsyncIterator[SQLTokenStore]:
    async for database in servers.opened(url):
        yield SQLTokenStore(database)


@pytest_twisted.async_yield_fixture
async def registry(url: str) -> AsyncIterator[SQLRegistry]:
    async for database in servers.opened(url):
        yield SQLRegistry(database)


class TestPostgreSQLClientFeed(ClientFeedContract):
    pass


class TestPostgreSQLInvalidationFeed(InvalidationFeedContract):
    """It tells what has ended."""


class TestPostgreSQLTokenStore(TokenStoreContract, TokenBacklogContract):
    """Everything that a token store promises."""


class TestPostgreSQLRegistry(RegistryContract, RegistryBacklogContract):
    """Everything that a registry promises."""
