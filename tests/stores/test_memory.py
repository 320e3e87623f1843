"""The memory store keeps the contracts."""

from __future__ import annotations

import pytest

from djoauth2_twisted.stores.contract import (
    ClientFeedContract,
    InvalidationFeedContract,
    RegistryBacklogContract,
    RegistryContract,
    TokenBacklogContract,
    TokenStoreContract,
)
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore


@pytest.fixture
def token_store() -> MemoryTokenStore:
    return MemoryTokenStore()


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


class TestMemoryClientFeed(ClientFeedContract):
    pass


class TestMemoryInvalidationFeed(InvalidationFeedContract):
    pass


class TestMemoryTokenStore(TokenStoreContract, TokenBacklogContract):
    pass


class TestMemoryRegistry(RegistryContract, RegistryBacklogContract):
    pass
