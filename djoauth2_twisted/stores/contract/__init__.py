"""What stores, their feeds and `IBacklog` promise (see `interfaces`), as tests for one of your own.

With pytest and pytest-twisted, a test module subclasses the contract and provides the store, open and
empty, as a fixture called ``token_store`` or ``registry``::

    import pytest_twisted
    from djoauth2_twisted.stores.contract import RegistryContract, TokenStoreContract

    @pytest_twisted.async_yield_fixture
    async def token_store():
        store = MyTokenStore()
        await store.open()
        yield store
        await store.close()

    class TestMyTokenStore(TokenStoreContract):
        pass

``pytest.register_assert_rewrite("djoauth2_twisted.stores.contract")`` in ``conftest.py`` makes failures
easier to read. Times are near today's, so that a store may pass them to its own clock.
"""

from .backlog import RegistryBacklogContract, TokenBacklogContract
from .client_feed import ClientFeedContract
from .invalidation import InvalidationFeedContract
from .registry import RegistryContract
from .samples import (
    ACCESS_LIFETIME,
    CHALLENGE,
    CODE_LIFETIME,
    CROWDS,
    HOSTILE,
    MANY,
    NOT_UTF_8,
    NOW,
    REDIRECT_URI,
    REFRESH_LIFETIME,
    VERIFIER,
    family_of,
    new_client,
    new_event,
    new_grant,
    new_issuance,
    new_second_factor,
    new_session,
    new_signing_key,
    new_user,
    pair_of,
    proof_of,
    random_digest,
    retriable_issuance,
)
from .token_store import TokenStoreContract

__all__ = [
    "ACCESS_LIFETIME",
    "CHALLENGE",
    "CODE_LIFETIME",
    "CROWDS",
    "HOSTILE",
    "MANY",
    "NOT_UTF_8",
    "NOW",
    "REDIRECT_URI",
    "REFRESH_LIFETIME",
    "VERIFIER",
    "ClientFeedContract",
    "InvalidationFeedContract",
    "RegistryBacklogContract",
    "RegistryContract",
    "TokenBacklogContract",
    "TokenStoreContract",
    "family_of",
    "new_client",
    "new_event",
    "new_grant",
    "new_issuance",
    "new_second_factor",
    "new_session",
    "new_signing_key",
    "new_user",
    "pair_of",
    "proof_of",
    "random_digest",
    "retriable_issuance",
]
