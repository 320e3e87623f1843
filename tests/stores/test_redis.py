"""Redis keeps the contract of a token store, under a prefix of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.models import GrantFilter, Page
from djoauth2_twisted.stores.contract import (
    InvalidationFeedContract,
    TokenBacklogContract,
    TokenStoreContract,
    new_grant,
)
from djoauth2_twisted.stores.redis import listing, scripts
from djoauth2_twisted.stores.redis.connection import Redis
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("patient")]

URL = os.environ.get("DJOAUTH2_TEST_REDIS", "redis://127.0.0.1:6379/0")


@pytest.fixture(scope="module", autouse=True)
def _running() -> None:
    parts = urlsplit(URL)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no such server is running: {error}")


@pytest_twisted.async_yield_fixture
async def token_store() -> AsyncIterator[RedisTokenStore]:
    from twisted.internet import reactor

    redis = Redis(reactor, URL)
    await redis.connect()
    prefix = f"djoauth2-test-{random_string(8)}:"
    yield RedisTokenStore(redis, prefix)
    script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"
    await redis.eval(script, [], [prefix + "*"])
    await redis.close()


class TestRedisInvalidationFeed(InvalidationFeedContract):
    pass


class TestRedisTokenStore(TokenStoreContract, TokenBacklogContract):
    pass


async def test_grants_are_revoked_in_batches(
    token_store: RedisTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No script runs for long, and a grant that is added between two of them hides no other."""
    monkeypatch.setattr(listing, "BATCH", 2)
    for second in range(6):
        assert await token_store.add_code(new_grant(client_id="popular", created=1000 + second))
    run, batches = token_store.redis.eval, 0

    async def add_between(script: str, *arguments: Any) -> Any:
        nonlocal batches
        answer = await run(script, *arguments)
        if script == scripts.END_SOME:
            batches += 1
            if batches == 1:
                # It has the lowest rank, and moves all others up.
                assert await token_store.add_code(new_grant(client_id="popular", created=1))
        return answer

    monkeypatch.setattr(
        token_store.redis, "eval", lambda *given: Deferred.fromCoroutine(add_between(*given))
    )
    assert await token_store.revoke_grants(client_id="popular") == 7
    assert batches == 3
    assert await token_store.grants(GrantFilter(), Page()) == []
