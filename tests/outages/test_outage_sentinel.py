"""Redis behind Sentinels: the store finds the master, and after a failover the new one."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from outage_kit import FELT, Guard, eventually, issuance, program
from outage_kit import Redis as Engine
from service_kit import free_port
from twisted.internet import reactor
from twisted.internet.task import deferLater
from waiting import PATIENCE

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import Grant, ResourceOwner
from djoauth2_twisted.stores.contract import new_grant
from djoauth2_twisted.stores.redis.connection import COMMAND_DEADLINE, Redis
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore

NAME = "kept"


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[Engine, str]]:
    """A master with a replica, and the URL of the Sentinel that watches them."""
    master = Engine()
    master.start()
    replica = Engine("--replicaof", "127.0.0.1", str(master.port))
    replica.start()
    port = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor {NAME} 127.0.0.1 {master.port} 1\n"
        f"sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 2000\n"
    )
    sentinel = subprocess.Popen(
        [program("redis-server"), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
    )
    yield master, f"redis+sentinel://127.0.0.1:{port}/{NAME}/0"
    sentinel.send_signal(signal.SIGTERM)
    sentinel.wait(PATIENCE)
    replica.remove()
    master.remove()
    # txredisapi cannot cancel its wait for a Sentinel.
    await deferLater(reactor, COMMAND_DEADLINE + 0.1)


def grant(name: str) -> Grant:
    return Grant(
        id=name,
        client_id="client",
        owner=ResourceOwner("user"),
        scopes=("read",),
        created=0,
        last_used=0,
        expires=600,
        code_digest=digest(name),
        code_expires=600,
        redirect_uri=None,
        code_challenge=None,
    )


async def connected(url: str) -> Redis:
    """A connection, as soon as the Sentinel names the master."""
    end = time.monotonic() + PATIENCE
    while True:
        redis = Redis(reactor, url)
        try:
            await redis.connect()
            return redis
        except ConfigurationError:
            assert time.monotonic() < end, "the Sentinel names no master"
            await deferLater(reactor, 0.1)


async def test_failover(world: tuple[Engine, str]) -> None:
    """The store reconnects to the replica that has become the master."""
    master, url = world
    redis = await connected(url)
    store = RedisTokenStore(redis)
    assert await store.add_code(grant("before"))
    master.kill()
    assert await eventually(lambda: store.add_code(new_grant()))
    assert await store.add_code(grant("before")) in {True, False}
    await redis.close()


async def test_cache_follows_a_failover(world: tuple[Engine, str]) -> None:
    """RV-10: the feed subscribes to the new master, and meanwhile no cached token is accepted."""
    master, url = world
    redis, other = await connected(url), await connected(url)
    store, guard = RedisTokenStore(redis), Guard.over(RedisTokenStore(other))
    _, token = await issuance(store)
    await guard.keeps(token)
    master.kill()
    killed = time.monotonic()
    while (asked := time.monotonic()) and await guard.accepts(token) is not None:
        assert asked < killed + FELT
    assert await eventually(lambda: store.add_code(new_grant()))
    ended, token = await issuance(store)
    await guard.keeps(token)
    assert await eventually(lambda: store.revoke_grant(ended.id))
    await guard.refuses(token, time.monotonic())
    await redis.close()
    await other.close()


async def test_unknown_name_of_the_master_is_refused(world: tuple[Engine, str]) -> None:
    _, url = world
    redis = Redis(reactor, url.replace(NAME, "unknown"))
    with pytest.raises(ConfigurationError):
        await redis.connect()
    await redis.close()
