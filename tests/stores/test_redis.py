"""The contract over Redis, under a prefix of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.stores.contract import TokenStoreContract
from djoauth2_twisted.stores.redis.connection import Redis
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore

URL = os.environ.get("DJOAUTH2_TEST_REDIS", "redis://127.0.0.1:6379/0")


@pytest_twisted.async_yield_fixture
async def token_store() -> AsyncIterator[RedisTokenStore]:
    from twisted.internet import reactor

    redis = Redis(reactor, URL)
    try:
        await redis.connect()
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Redis is running: {error}")
    prefix = f"djoauth2-test-{random_string(8)}:"
    yield RedisTokenStore(redis, prefix)
    script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"
    await redis.eval(script, [], [prefix + "*"])
    await redis.close()


class TestRedis(TokenStoreContract):
    """Everything that a token store promises."""
