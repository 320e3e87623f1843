"""The contract over Redis, under a prefix of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_twisted

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.stores.contract import EndingsContract, TokenStoreContract
from djoauth2_twisted.stores.redis.connection import Redis
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore

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


class TestRedisEndings(EndingsContract):
    """It tells what has ended."""


class TestRedis(TokenStoreContract):
    """Everything that a token store promises."""
