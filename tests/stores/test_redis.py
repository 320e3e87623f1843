"""The contract over Redis, under a prefix of its own."""

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
from djoauth2_twisted.stores.contract import InvalidationFeedContract, TokenStoreContract, new_grant
from djoauth2_twisted.stores.redis import scripts, tokens
from djoauth2_twisted.stores.redis.connection import Redis
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore

pytestmark = pytest.mark.engine

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
    """It tells what has ended."""


class TestRedis(TokenStoreContract):
    """Everything that a token store promises."""


async def test_many_are_ended_part_by_part(
    token_store: RedisTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No script keeps Redis for long; and what is added meanwhile hides nobody's grant."""
    monkeypatch.setattr(tokens, "PART", 2)
    for second in range(6):
        assert await token_store.add_code(new_grant(client_id="popular", created=1000 + second))
    ask, parts = token_store.redis.eval, 0

    async def note(script: str, *arguments: Any) -> Any:
        nonlocal parts
        answer = await ask(script, *arguments)
        if script == scripts.END_SOME:
            parts += 1
            if parts == 1:
                # Below all of the others.
                assert await token_store.add_code(new_grant(client_id="popular", created=1))
        return answer

    monkeypatch.setattr(token_store.redis, "eval", lambda *given: Deferred.fromCoroutine(note(*given)))
    assert await token_store.revoke_grants(client_id="popular") == 7
    assert parts == 3
    assert await token_store.grants(GrantFilter(), Page()) == []
