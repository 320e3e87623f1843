"""Tokens that are kept at hand while the store, or the way to it, is away.

Two stores in this process stand for two processes. Behaviours RV-01, RV-07, RV-10, BG-17, DB-07.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from outage_kit import (
    FELT,
    Guard,
    Kept,
    PostgreSQL,
    Redis,
    Resources,
    Tried,
    back_to,
    error_of,
    eventually,
    issuance,
    opened,
    proxy_to,
)
from reactors import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from waiting import until

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import InvalidToken, TemporarilyUnavailable
from djoauth2_twisted.stores.redis.connection import Redis as RedisConnections
from djoauth2_twisted.stores.redis.tokens import RedisTokenStore
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore


@asynccontextmanager
async def another(tried: Tried, url: str | None = None) -> AsyncIterator[Guard]:
    """Another process on the same engine."""
    async with opened(tried.engine, url) as store:
        yield Guard.over(store)


async def test_ended_elsewhere(tried: Tried) -> None:
    """RV-10, DB-07: by whatever verb, and one after the other."""
    async with another(tried) as guard:
        for number in range(30):
            grant, token = await issuance(tried.store)
            await guard.keeps(token)
            if number % 3 == 0:
                assert await tried.store.revoke(digest(token), grant.client_id)
            elif number % 3 == 1:
                assert await tried.store.revoke_grant(grant.id)
            else:
                assert await tried.store.revoke_grants(username=grant.owner.username)
            await guard.refuses(token, time.monotonic())


async def test_ended_here(tried: Tried) -> None:
    """RV-01: the next request is refused, in a process that watches others too."""
    guard = Guard.over(tried.store)
    for _ in range(10):
        grant, token = await issuance(tried.store)
        await guard.keeps(token)
        verdicts: list[Deferred[Any]] = []

        def ask(_: object, token: str = token, verdicts: list[Deferred[Any]] = verdicts) -> None:
            verdicts.append(guard.verifier.verify(token, ()))

        await tried.store.revoke_grant(grant.id).addCallback(ask)
        assert isinstance(await error_of(verdicts[0]), InvalidToken)


async def test_hung(tried: Tried) -> None:
    """RV-10, BG-17: while a server hangs, cached tokens are accepted only for a moment.

    What it does when it continues is received, and the cache recovers by itself.
    """
    _, good = await issuance(tried.store)
    grant, token = await issuance(tried.store)
    async with another(tried) as guard:
        await guard.keeps(good, token)
        tried.engine.hang()
        hung = time.monotonic()
        while (asked := time.monotonic()) < hung + 3 * FELT:
            if guard.has_cached(good):
                assert asked < hung + FELT
            await deferLater(reactor, 0.01)
        # RV-07: whether it was revoked is unknown.
        assert isinstance(await error_of(guard.store.revoke_grant(grant.id)), TemporarilyUnavailable)
        assert await guard.accepts(token) is None
        tried.engine.go_on()
        assert await eventually(lambda: guard.store.revoke_grant(grant.id)) in {True, False}
        assert await guard.accepts(token) is False
        await guard.keeps(good)
        ended, late = await issuance(tried.store)
        await guard.keeps(late)
        assert await tried.store.revoke_grant(ended.id)
        await guard.refuses(late, time.monotonic())


async def test_hung_at_the_end(tried: Tried) -> None:
    """It can be left while it hangs."""
    _, good = await issuance(tried.store)
    async with another(tried) as guard:
        await guard.keeps(good)
        tried.engine.hang()
        await until(lambda: not guard.store.is_current(), "the end of currency")
    tried.engine.go_on()


async def test_killed(tried: Tried) -> None:
    """The same with one that is gone, and comes back."""
    _, good = await issuance(tried.store)
    async with another(tried) as guard:
        await guard.keeps(good)
        tried.engine.kill()
        gone = time.monotonic()
        while (asked := time.monotonic()) < gone + 2 * FELT:
            if guard.has_cached(good):
                assert asked < gone + FELT
            await deferLater(reactor, 0.01)
        assert await guard.accepts(good) is None
        tried.engine.start()
        await eventually(lambda: guard.store.find_access_token(digest(good)))
        await guard.keeps(good)
        ended, token = await eventually(lambda: Deferred.fromCoroutine(issuance(tried.store)))
        await guard.keeps(token)
        assert await eventually(lambda: tried.store.revoke_grant(ended.id))
        await guard.refuses(token, time.monotonic())


def _end_watchers(engine: Any) -> None:
    """End the connections that receive invalidations, and others with them."""
    engine.end_connections()
    if isinstance(engine, Redis):
        engine.administer("CLIENT", "KILL", "TYPE", "pubsub")


async def test_connections_ended(tried: Tried) -> None:
    """RV-10: a token that ended while the connection was lost is refused all the same."""
    for _ in range(3):
        grant, token = await issuance(tried.store)
        async with another(tried) as guard:
            await guard.keeps(token)
            _end_watchers(tried.engine)
            assert await eventually(partial(tried.store.revoke_grant, grant.id))
            await guard.refuses(token, time.monotonic())
            _, next_one = await eventually(lambda: Deferred.fromCoroutine(issuance(tried.store)))
            await guard.keeps(next_one)


async def test_network_that_swallows(tried: Tried) -> None:
    """The way to the server is lost, without an error."""
    grant, token = await issuance(tried.store)
    with proxy_to(tried.engine.port) as proxy:
        async with another(tried, tried.engine.url(proxy.port)) as guard:
            await guard.keeps(token)
            proxy.swallow()
            assert await tried.store.revoke_grant(grant.id)
            since = time.monotonic()
            while (asked := time.monotonic()) < since + 3 * FELT:
                if guard.has_cached(token):
                    assert asked < since + FELT
                await deferLater(reactor, 0.01)
            proxy.let_through()
            await eventually(lambda: guard.store.find_access_token(digest(token)))
            assert await guard.accepts(token) is False
            await until(guard.store.is_current, "currency")
            assert await guard.accepts(token) is False


async def test_slow_network(tried: Tried) -> None:
    """Where a round trip takes longer than the feed stays current, each token is looked up."""
    _, token = await issuance(tried.store)
    with proxy_to(tried.engine.port) as proxy:
        async with another(tried, tried.engine.url(proxy.port)) as guard:
            await guard.keeps(token)
            proxy.delay = FELT
            await until(lambda: not guard.has_cached(token), "a token out of the cache")
            for _ in range(5):
                assert await guard.accepts(token) in {True, None}
                assert not guard.store.is_current()
            proxy.let_through()
            await guard.keeps(token)


async def test_the_feed_connects_only_when_it_is_used(tried: Tried) -> None:
    """A process that keeps nothing has no connection more, and no thread."""
    before = Resources.now()
    async with another(tried) as guard:
        _, good = await issuance(guard.store)
        assert await guard.store.find_access_token(digest(good)) is not None
        idle = Resources.now()
        await guard.keeps(good)
        assert Resources.now().descriptors > idle.descriptors
    await back_to(before)


async def test_pooler(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where backends change behind our back no notification can be relied on, and nothing is kept."""
    async with opened(postgresql) as store:
        guard = Guard.over(store)
        kept = await Kept.put_into(store)
        # A pooler makes up the number by which its clients know their backend.
        monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)

        def warnings() -> list[Any]:
            return [event for event in logs if event["log_level"].name == "warn"]

        with capturedLogs() as logs:
            assert not guard.store.is_current()
            await until(warnings, "a warning")
            for _ in range(3):
                assert not guard.store.is_current()
                await deferLater(reactor, 0.3)
        warned = warnings()
        assert len(warned) == 1
        assert "pooler" in str(warned[0]["error"])
        _, token = await issuance(store)
        assert await guard.accepts(token)
        assert not guard.has_cached(token)
        await kept.is_whole()


async def test_nonsense_on_the_channel(postgresql: PostgreSQL) -> None:
    """Any user of the database may notify: the cache drops everything, which does no harm."""
    async with opened(postgresql) as store:
        guard = Guard.over(store)
        _, good = await issuance(store)
        await guard.keeps(good)
        postgresql.administer("NOTIFY djoauth2_ended, 'nonsense'", database="tried")
        await until(lambda: not guard.store.is_current(), "the end of currency")
        await guard.keeps(good)


async def test_redis_that_forbids_to_tell(redis: Redis) -> None:
    """Who may not publish may not revoke: nothing is half-done, and it is said at the start."""
    from djoauth2_twisted.errors import ConfigurationError

    async with opened(redis) as store:
        grant, token = await issuance(store)
        guard = Guard.over(store)
        await guard.keeps(token)
        redis.administer("ACL", "SETUSER", "default", "resetchannels")
        try:
            with capturedLogs():
                refused = await error_of(store.revoke_grant(grant.id))
                assert isinstance(refused, TemporarilyUnavailable)
                assert await store.find_access_token(digest(token)) is not None
                with pytest.raises(ConfigurationError, match="channel"):
                    async with opened(redis):
                        raise AssertionError("it was opened")
        finally:
            redis.administer("ACL", "SETUSER", "default", "allchannels")
        assert await eventually(lambda: store.revoke_grant(grant.id))
        await guard.refuses(token, time.monotonic())


async def test_databases_of_one_redis(redis: Redis) -> None:
    """What ends in one is not published in the other."""
    url = redis.url()
    one, other = (RedisConnections(reactor, url.replace("/0", f"/{number}")) for number in (1, 2))
    await one.connect()
    await other.connect()
    stores = RedisTokenStore(one), RedisTokenStore(other)
    guards = [Guard.over(store) for store in stores]
    tokens = [await issuance(store) for store in stores]
    for guard, (_, token) in zip(guards, tokens, strict=True):
        await guard.keeps(token)
    told: list[Any] = []
    stores[1].subscribe(told.append)
    assert await stores[0].revoke_grant(tokens[0][0].id)
    await guards[0].refuses(tokens[0][1], time.monotonic())
    await guards[1].keeps(tokens[1][1])
    assert told == []
    await one.close()
    await other.close()


class TestFile:
    """The same on SQLite."""

    @asynccontextmanager
    async def _two(self, folder: Path) -> AsyncIterator[tuple[Any, Guard]]:
        databases = [Database(reactor, f"sqlite:///{folder}/store.db") for _ in range(2)]
        for database in databases:
            database.open()
        stores = [SQLTokenStore(database) for database in databases]
        try:
            yield stores[0], Guard.over(stores[1])
        finally:
            for database in databases:
                await database.close()

    async def test_ended_elsewhere(self, tmp_path: Path) -> None:
        """RV-10: within a tenth of a second."""
        base = Resources.now()
        async with self._two(tmp_path) as (store, guard):
            for _ in range(20):
                grant, token = await issuance(store)
                await guard.keeps(token)
                assert await store.revoke_grant(grant.id)
                await guard.refuses(token, time.monotonic())
        await back_to(base)

    async def test_log_removed(self, tmp_path: Path) -> None:
        """BG-17: a log that other processes no longer see is no ground to accept a token."""
        async with self._two(tmp_path) as (store, guard):
            _, token = await issuance(store)
            await guard.keeps(token)
            with capturedLogs():
                (tmp_path / "store.db-wal").unlink()
                removed = time.monotonic()
                while (asked := time.monotonic()) < removed + 2 * FELT:
                    if guard.has_cached(token):
                        assert asked < removed + FELT
                    await deferLater(reactor, 0.01)
                assert await guard.accepts(token) is None

    async def test_in_memory(self) -> None:
        """No other process can use it, so there is nothing to watch."""
        database = Database(reactor, "sqlite://")
        database.open()
        guard = Guard.over(SQLTokenStore(database))
        grant, token = await issuance(guard.store)
        assert await guard.accepts(token)
        assert guard.has_cached(token)
        assert await guard.store.revoke_grant(grant.id)
        assert await guard.accepts(token) is False
        await database.close()
