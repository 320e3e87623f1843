"""The costs of a grant in each store: bytes, and steps per second of one process.

    python benchmarks/stores.py GRANTS URL [URL ...]

Each URL names an empty database, or is ``redis://``; in Redis all keys have their own prefix, and are
removed at the end. The benchmark makes grants, exchanges their codes and uses their refresh tokens once.
It calls `ITokenStore` in this process, without HTTP: 64 calls at once, as under load, and one after the
other. Sizes are measured before and after. The CPU time of a step is in brackets. It varies less than
the steps per second if the machine is busy.
"""

import sys
import time
from pathlib import Path

import sqlalchemy as sa
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from djoauth2_twisted.credentials import digest, new_family, random_string, refresh_token
from djoauth2_twisted.models import CodeProof, Grant, Issuance, Issued, RefreshProof, ResourceOwner
from djoauth2_twisted.stores.urls import from_url

CONCURRENCY = 64
#: How many steps are done one after the other.
SINGLE_STEPS = 300
PREFIX = "djoauth2-benchmark:"
CLIENT_ID = random_string(30)
REDIRECT_URI = "https://app.example/callback"
OWNER = ResourceOwner("alice", "Alice", "Liddell", "alice@example.com")


def grant(now):
    """A new grant with its code."""
    return Grant(
        id=random_string(30),
        client_id=CLIENT_ID,
        owner=OWNER,
        scopes=("user_info",),
        created=now,
        last_used=now,
        expires=now + 600,
        code_digest=digest(random_string(30)),
        code_expires=now + 600,
        redirect_uri=REDIRECT_URI,
        code_challenge=None,
    )


def issuance(now, family):
    """The issuance of a new pair of tokens."""
    return Issuance(
        now=now,
        access_digest=digest(random_string(30)),
        access_expires=now + 3600,
        refresh_digest=digest(refresh_token(family, 30)),
        refresh_expires=now + 2592000,
        family_digest=digest(family),
    )


class Store:
    """A token store, and its size."""

    def __init__(self, reactor, url):
        self.url = url
        self.is_redis = url.startswith("redis")
        if self.is_redis:
            self.opened, _, self.tokens = from_url(reactor, "sqlite://", url)
            object.__setattr__(self.tokens, "prefix", PREFIX)
        else:
            self.opened, _, self.tokens = from_url(reactor, url)

    async def open(self):
        """Open and prepare it."""
        self.opened.open(prepare=True)
        await self.opened.connect()

    async def size(self):
        """The size of the store, in bytes."""
        if self.is_redis:
            script = "return redis.call('INFO', 'memory')"
            text = await self.tokens.redis.eval(script, [], [])
            return int(text.split(b"used_memory:")[1].split()[0])
        url = sa.make_url(self.url)
        url = url.set(drivername=_DRIVERS[url.get_backend_name()])
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            return _SIZES[url.get_backend_name()](connection, url)

    async def close(self):
        """Remove the keys from Redis, and close the store."""
        if self.is_redis:
            script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end"
            await self.tokens.redis.eval(script, [], [f"{PREFIX}*"])
        await self.opened.close()


def _size_of_sqlite(connection, url):
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(url.database).stat().st_size


def _size_of_postgresql(connection, url):
    names = "'djoauth2_grant', 'djoauth2_token', 'djoauth2_retry'"
    query = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ({names})"
    return int(connection.exec_driver_sql(query).scalar())


def _size_of_mariadb(connection, url):
    connection.exec_driver_sql("ANALYZE TABLE djoauth2_grant, djoauth2_token").all()
    query = (
        "SELECT sum(data_length + index_length) FROM information_schema.tables "
        "WHERE table_schema = database() AND table_name IN ('djoauth2_grant', 'djoauth2_token')"
    )
    return int(connection.exec_driver_sql(query).scalar())


_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
_SIZES = {
    "sqlite": _size_of_sqlite,
    "postgresql": _size_of_postgresql,
    "mysql": _size_of_mariadb,
    "mariadb": _size_of_mariadb,
}


async def each(items, act, at_once):
    """Call ``act`` for each item. Returns the calls per second, and the CPU ms of a call, as text."""
    left = iter(items)

    async def some():
        for item in left:
            await act(item)

    begun, used = time.perf_counter(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(at_once)])
    took, worked = time.perf_counter() - begun, time.process_time() - used
    return f"{len(items) / took:.0f} ({1000 * worked / len(items):.2f} ms)"


async def steps(store, count, at_once):
    """Add, exchange, refresh and look up ``count`` grants. Returns the rate of each step, as text."""
    now = int(time.time())
    tokens = store.tokens
    families = [new_family() for _ in range(count)]
    flows = [(grant(now), issuance(now, family), issuance(now, family)) for family in families]

    async def add(flow):
        assert await tokens.add_code(flow[0])

    async def exchange(flow):
        proof = CodeProof(CLIENT_ID, REDIRECT_URI, None)
        assert isinstance(await tokens.redeem_code(flow[0].code_digest, proof, flow[1]), Issued)

    async def refresh(flow):
        proof = RefreshProof(CLIENT_ID, None)
        done = await tokens.rotate_refresh_token(flow[1].refresh_digest, proof, flow[2])
        assert isinstance(done, Issued)

    async def look(flow):
        assert await tokens.find_access_token(flow[2].access_digest)

    return [await each(flows, act, at_once) for act in (add, exchange, refresh, look)]


async def measure(reactor, url, count):
    """Measure one store, and print its row."""
    store = Store(reactor, url)
    await store.open()
    try:
        before = await store.size()
        many = await steps(store, count, CONCURRENCY)
        size = (await store.size() - before) / count
        one = await steps(store, min(count, SINGLE_STEPS), 1)
    finally:
        await store.close()
    name = url.partition(":")[0]
    print(f"| {name} | {size:.0f} | " + " | ".join((*many, *one)) + " |")


async def main(reactor, count, *urls):
    """Measure and print."""
    heads = [f"{what}, {how}" for how in (f"{CONCURRENCY} at once", "singly") for what in _STEPS]
    print("| store | bytes per grant | " + " | ".join(heads) + " |")
    print("|---" * (2 + len(heads)) + "|")
    for url in urls:
        await measure(reactor, url, int(count))


_STEPS = ("consents/s", "exchanges/s", "refreshes/s", "look-ups/s")

if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
