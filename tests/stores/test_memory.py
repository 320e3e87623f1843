"""The memory store keeps the contracts."""

from __future__ import annotations

import pytest

from djoauth2_twisted.stores.contract import (
    InvalidationFeedContract,
    RegistryContract,
    TokenStoreContract,
)
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore


@pytest.fixture
def token_store() -> MemoryTokenStore:
    return MemoryTokenStore()


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


class TestMemoryInvalidationFeed(InvalidationFeedContract):
    pass


class TestMemoryTokenStore(TokenStoreContract):
    pass


class TestMemoryRegistry(RegistryContract):
    pass
