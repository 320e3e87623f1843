"""Outages that only Redis has.

Behaviours F-19, F-20, F-22, F-23, F-24, RD-05, RD-06, RD-07, RD-08, RV-07.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from outage_kit import (
    FELT,
    Guard,
    Kept,
    Redis,
    Tried,
    error_of,
    eventually,
    issuance,
    one_outage_is_logged,
    opened,
    refused,
)
from service_kit import free_port
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from waiting import wait_for

from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import Unknown
from djoauth2_twisted.stores.contract import new_grant


@pytest.fixture
def own_redis() -> Iterator[Callable[..., Redis]]:
    """Start servers with other settings."""
    made: list[Redis] = []

    def make(*settings: str) -> Redis:
        engine = Redis(*settings)
        made.append(engine)
        engine.start()
        return engine

    yield make
    for engine in made:
        engine.remove()


async def test_restart_without_data(tried_redis: Tried) -> None:
    """F-19, RD-06: old grants are unknown, also the revoked ones, and new grants are valid."""
    engine, kept = tried_redis.engine, tried_redis.kept
    engine.administer("FLUSHALL")
    engine.kill()
    await refused(*kept.all())
    engine.start()
    assert await eventually(kept.find) is None
    assert await kept.redeem() == Unknown()
    assert await kept.rotate() == Unknown()
    assert await kept.rotate_revoked() == Unknown()
    await (await Kept.put_into(tried_redis.store)).is_whole()


async def test_refused_write_is_not_made_later(tried_redis: Tried) -> None:
    """RD-05: codes that were refused while Redis hung are not there when it continues.

    A revocation that was refused may be made later: the caller wanted it.
    """
    engine, kept, store = tried_redis.engine, tried_redis.kept, tried_redis.store
    lost = [new_grant() for _ in range(10)]
    # Each step reads the server's time before the server hangs, and writes while it hangs.
    await eventually(kept.find)
    steps = [store.add_code(grant) for grant in lost]
    engine.hang()
    revoked = store.revoke_grant(kept.grant.id)
    errors = await gatherResults([error_of(step) for step in (*steps, revoked)])
    assert None not in errors
    engine.go_on()
    again = [await eventually(partial(store.add_code, grant)) for grant in lost]
    assert set(again) == {True}  # no id was taken
    assert await store.find_access_token(kept.revoked_pair.access_digest) is None


async def _while_refused(kept: Kept, reads: bool) -> None:
    with one_outage_is_logged():
        for _ in range(3):
            await refused(*(kept.writes() if reads else kept.all()))
            await refused(kept.check_writable())
            if reads:
                assert await kept.find() is not None


async def test_read_only_replica(tried_redis: Tried) -> None:
    """F-10, F-24, RD-07: READONLY."""
    engine, kept = tried_redis.engine, tried_redis.kept
    engine.administer("CONFIG", "SET", "replica-serve-stale-data", "yes")
    engine.administer("REPLICAOF", "127.0.0.1", str(free_port()))
    await _while_refused(kept, reads=True)
    engine.administer("REPLICAOF", "NO", "ONE")
    await kept.is_whole()


async def test_out_of_memory(tried_redis: Tried) -> None:
    """F-22, RD-07, RV-07: OOM, with noeviction. Revocations succeed."""
    engine, kept = tried_redis.engine, tried_redis.kept
    engine.administer("CONFIG", "SET", "maxmemory", "1")
    await _while_refused(kept, reads=True)
    assert await tried_redis.store.revoke_grant(kept.waiting.id)
    assert await kept.redeem() == Unknown()
    engine.administer("CONFIG", "SET", "maxmemory", "0")
    await (await Kept.put_into(tried_redis.store)).is_whole()


async def test_evicted(tried_redis: Tried) -> None:
    """F-22, RD-06: whichever key is evicted first, nothing that was revoked becomes valid."""
    engine, kept = tried_redis.engine, tried_redis.kept
    for key in sorted(engine.administer("KEYS", "*").split()):
        engine.administer("DEL", key)
        revoked = await tried_redis.store.find_access_token(kept.revoked_pair.access_digest)
        assert revoked is None
        assert await kept.rotate_revoked() == Unknown()
    assert await kept.find() is None
    assert await kept.redeem() == Unknown()


async def test_misconfigured(tried_redis: Tried) -> None:
    """RD-07: MISCONF, since Redis cannot save its data."""
    engine, kept = tried_redis.engine, tried_redis.kept
    engine.administer("CONFIG", "SET", "save", "3600 1")
    # A folder has the name of the file.
    blocked = engine.folder / "dump.rdb"
    blocked.mkdir()
    engine.administer("BGSAVE")
    wait_for(lambda: "rdb_last_bgsave_status:err" in engine.administer("INFO"), "a failed save")
    await _while_refused(kept, reads=True)
    blocked.rmdir()
    engine.administer("CONFIG", "SET", "save", "")
    await kept.is_whole()


async def test_busy(tried_redis: Tried) -> None:
    """RD-07: BUSY, since another program's script does not end."""
    engine, kept = tried_redis.engine, tried_redis.kept
    engine.administer("CONFIG", "SET", "busy-reply-threshold", "50")
    spinning = deferToThread(engine.administer, "EVAL", "while true do end", "0")
    wait_for(lambda: "BUSY" in engine.administer("PING"), "the script")
    await _while_refused(kept, reads=False)
    engine.administer("SCRIPT", "KILL")
    await spinning
    await kept.is_whole()


async def test_password_changed_while_it_runs(own_redis: Callable[..., Redis]) -> None:
    """F-24: WRONGPASS or NOAUTH; the store recovers when the password is right again."""
    engine = own_redis("--requirepass", "right")
    with capturedLogs():
        async with opened(engine, engine.url(password="right")) as store:
            kept = await Kept.put_into(store)
            engine.administer("CONFIG", "SET", "requirepass", "other", password="right")
            engine.administer("CLIENT", "KILL", "TYPE", "normal", password="other")
            await refused(*kept.all())
            await refused(*kept.all())
            engine.administer("CONFIG", "SET", "requirepass", "right", password="other")
            await kept.is_whole()


@pytest.mark.parametrize("password", ["", "SECRET"])
async def test_wrong_password_at_the_start(own_redis: Callable[..., Redis], password: str) -> None:
    """The error is one line, without the password."""
    engine = own_redis("--requirepass", "right")
    with pytest.raises(ConfigurationError) as raised:
        async with opened(engine, engine.url(password=password)):
            raise AssertionError("it was opened")
    assert "\n" not in str(raised.value)
    assert "SECRET" not in str(raised.value)


async def test_forbidden_by_access_control_list(own_redis: Callable[..., Redis]) -> None:
    """F-24: NOPERM."""
    engine = own_redis()
    with capturedLogs():
        async with opened(engine) as store:
            kept = await Kept.put_into(store)
            engine.administer("ACL", "SETUSER", "default", "-set", "-zadd", "-del")
            with one_outage_is_logged():
                await refused(*kept.writes())
                assert await kept.find() is not None
            engine.administer("ACL", "SETUSER", "default", "+@all")
            await kept.is_whole()


async def test_wrong_type(tried_redis: Tried) -> None:
    """RD-07: WRONGTYPE, where another program wrote to our keys: the look-up fails."""
    engine, kept = tried_redis.engine, tried_redis.kept
    key = f"djoauth2:a:{kept.pair.access_digest.hex()}"
    engine.administer("DEL", key)
    engine.administer("RPUSH", key, "nonsense")
    await refused(kept.find())


async def test_loading(own_redis: Callable[..., Redis]) -> None:
    """RD-07: LOADING, while Redis reads its data."""
    engine = own_redis("--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024")
    with capturedLogs():
        async with opened(engine) as store:
            kept = await Kept.put_into(store)
            engine.administer("EVAL", "for i = 1, 3000 do redis.call('SET', 'x' .. i, i) end", "0")
            engine.administer("BGREWRITEAOF")
            finished = "aof_rewrite_in_progress:0"
            wait_for(lambda: finished in engine.administer("INFO", "persistence"), "the log")
            engine.kill()
            engine.begin()
            wait_for(lambda: "LOADING" in engine.administer("GET", "x"), "loading")
            await refused(*kept.all())
            wait_for(engine.answers, "the end of loading")
            await kept.is_whole()


async def test_settings_that_lose_grants_are_logged(own_redis: Callable[..., Redis]) -> None:
    """RD-08: at the start, where Redis keeps no log on disk, or evicts keys."""
    engine = own_redis("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    engine.administer("CONFIG", "SET", "appendonly", "no")
    with capturedLogs() as logs:
        async with opened(engine):
            pass
    warned = [str(formatEvent(event)) for event in logs if event["log_level"].name == "warn"]
    assert len(warned) == 2
    assert "appendonly no" in warned[0]
    assert "maxmemory-policy" in warned[1]


# TLS.


@asynccontextmanager
async def _with_tls(
    own_redis: Callable[..., Redis], folder: Path, host: str
) -> AsyncIterator[tuple[Redis, Path]]:
    """Start a server with a certificate for a host."""
    whole = make_certificate(host).decode()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    begin = whole.index("-----BEGIN CERTIFICATE")
    rest = whole.replace(whole[begin:], "") if begin else whole[whole.index("-----BEGIN PRIVATE") :]
    certificate.write_text(whole[begin:].split("-----BEGIN PRIVATE")[0])
    key.write_text(rest)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-auth-clients", "no")
    engine = own_redis(*tls, "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    engine.tls_port = port
    yield engine, certificate


@pytest.mark.parametrize("host", ["localhost", "elsewhere.example"])
async def test_certificate(
    own_redis: Callable[..., Redis], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A certificate of an unknown issuer, or for another host, is refused at the start."""
    async with _with_tls(own_redis, tmp_path, host) as (engine, certificate):
        url = f"rediss://localhost:{engine.tls_port}/0"
        for trusted in (False, True):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            if trusted and host == "localhost":
                async with opened(engine, url) as store:
                    await (await Kept.put_into(store)).is_whole()
                continue
            with capturedLogs(), pytest.raises(ConfigurationError, match="certificate"):
                async with opened(engine, url):
                    raise AssertionError("it was opened")


async def test_tls_hung(
    own_redis: Callable[..., Redis], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-20: over TLS, also while the store is closed."""
    async with _with_tls(own_redis, tmp_path, "localhost") as (engine, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with capturedLogs():
            async with opened(engine, f"rediss://localhost:{engine.tls_port}/0") as store:
                kept = await Kept.put_into(store)
                engine.hang()
                await refused(*kept.all())
                await refused(*kept.all())
                engine.go_on()
                await kept.is_whole()
                engine.hang()
            engine.go_on()


# The cache of access tokens, over each kind of connection to Redis.


@asynccontextmanager
async def _connected_by(
    scheme: str, own_redis: Callable[..., Redis], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Redis, str]]:
    """Start a server; the server and its URL."""
    if scheme == "unix":
        engine = own_redis("--unixsocket", "socket")
        yield engine, f"unix://{engine.folder}/socket?db=0"
        return
    async with _with_tls(own_redis, folder, "localhost") as (engine, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        yield engine, f"rediss://localhost:{engine.tls_port}/0"


@pytest.mark.parametrize("scheme", ["rediss", "unix"])
async def test_revocation_by_another_process_reaches_the_cache(
    scheme: str, own_redis: Callable[..., Redis], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RV-10, BG-17: within a tenth of a second, also where the subscription is lost or Redis hangs."""
    async with _connected_by(scheme, own_redis, tmp_path, monkeypatch) as (engine, url):
        with capturedLogs():
            async with opened(engine, url) as store, opened(engine, url) as elsewhere:
                guard = Guard.over(elsewhere)
                for number in range(9):
                    grant, token = await issuance(store)
                    await guard.keeps(token)
                    if number % 3 == 2:
                        engine.administer("CLIENT", "KILL", "TYPE", "pubsub")
                    assert await store.revoke_grant(grant.id)
                    await guard.refuses(token, time.monotonic())
                _, token = await issuance(store)
                await guard.keeps(token)
                engine.hang()
                hung = time.monotonic()
                while (asked := time.monotonic()) < hung + 2 * FELT:
                    if guard.has_cached(token):
                        assert asked < hung + FELT
                    await deferLater(reactor, 0.01)
                assert await guard.accepts(token) is None
                engine.go_on()
                await guard.keeps(token)
